"""Running a study: its jobs in their order, as many processes at once as the runner has room for.

Knows jobs by their files alone: one is done when its result is there. So a study that was killed
goes on where it was, and one that is done is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fieldtune import settings
from fieldtune.errors import UserError
from fieldtune.lock import Held, exclusive
from fieldtune.train.config import ONLY_WHERE, RunConfig
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import first_difference
from fieldtune.train.study.plan import (
    METHODS,
    Job,
    Method,
    Study,
    jobs,
    load_study,
    processes,
    ready,
)
from fieldtune.train.study.runners import Handle, Runner

LOOK_EVERY_S = 0.5
LOG_LINES = 6

OnLook = Callable[[list[Job], list[Job]], None]
"""Told all jobs, and those running, again and again."""


class StudyError(UserError):
    """The study cannot go on. The message says which job, what it said and the cure."""


def open_study(folder: Path, study: Study) -> None:
    """Create the study's folder, or check that what is there was asked for in the same way.

    More seeds may be asked for than before, another `device` or other `workers`, and another
    `evaluation`, which no weights depend on: what was measured by the old one is told by
    `require_sound_results`, but for its noise.

    Raises:
        StudyError: the folder holds another study.
    """
    known = folder / "study.yaml"
    if known.exists():
        before = load_study(known)
        there = _measured_as(before.config, study)
        changed = first_difference(there.model_dump(), study.config.model_dump())
        if changed is None:  # of the robot, how it explores is measured
            then, now = (one.robot.exploration.model_dump() for one in (there, study.config))
            changed = first_difference(then, now, above="robot.exploration.")
        if changed is not None:
            moved = (
                f"; if its data were moved, set data.path in {known}"
                if changed.startswith("data.path ")
                else ""
            )
            raise StudyError(
                f"{folder} holds a study with another {changed}; give the new one a folder of its "
                f"own with --out{moved}"
            )
        if before.seeds >= study.seeds and there == before.config:
            return
        study = study.model_copy(update={"seeds": max(before.seeds, study.seeds)})
    folder.mkdir(parents=True, exist_ok=True)
    settings.dump(study, known, movable="config.data.path")
    for path in folder.glob("seed-*/config.yaml"):
        config = load_config(path)
        settings.dump(_measured_as(config, study), path, movable="data.path")


def _measured_as(config: RunConfig, study: Study) -> RunConfig:
    changed = {key: getattr(study.config, key) for key in ONLY_WHERE}
    noise = {"action_noise": config.evaluation.action_noise}  # no result says with which it was
    changed["evaluation"] = study.config.evaluation.model_copy(update=noise)
    return config.model_copy(update=changed)


def run_study(
    folder: Path,
    seeds: int,
    runner: Runner,
    on_look: OnLook,
    methods: Sequence[Method] = METHODS,
) -> None:
    """Run every job that is not done.

    Args:
        folder: of a study (`open_study`).
        seeds: how many, from 0 on.
        runner: starts processes, so many at once as it has slots; it stays open.
        on_look: called about twice a second with all jobs and those that run.
        methods: those that are asked for; what is done of others stays.

    Raises:
        StudyError: a job failed (the others were let finish), or the study runs elsewhere already.
    """
    everything = jobs(folder, seeds, methods)
    running: dict[Handle, list[Job]] = {}
    begun: set[Job] = set()
    failed: list[Job] = []
    with _alone(folder):
        try:
            while True:
                for handle in [one for one in running if one.poll() is not None]:
                    failed += [job for job in running.pop(handle) if not job.done]
                found = processes(ready(everything, begun), _undone(running), runner.together)
                for several in found[: runner.slots - len(running)]:
                    running[runner.start(several)] = several
                    begun.update(several)
                on_look(everything, _undone(running))
                if not running:
                    break
                time.sleep(LOOK_EVERY_S)
        finally:
            for handle in running:
                handle.ask()
            for handle in running:
                handle.stop()
    if failed:
        raise StudyError("\n".join(_last_words(job) for job in failed))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process a study; the lock goes when the process does, however it ends."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(folder / ".lock"))
        except Held as error:
            raise StudyError(f"{folder}: process {error.holder} is running this study") from None
        yield


def _undone(running: Mapping[Handle, list[Job]]) -> list[Job]:
    return [job for several in running.values() for job in several if not job.done]


def _last_words(job: Job) -> str:
    """The end of its log, or of its process's where that is newer: what ended that."""
    written = [log for log in (job.log, job.shared_log) if log.exists()]
    log = max(written, key=lambda one: one.stat().st_mtime_ns, default=job.log)
    said = log.read_text(errors="replace").splitlines() if written else []
    last = "\n  ".join(said[-LOG_LINES:])
    return f"{job.title} failed; the end of {log}:\n  {last}"
