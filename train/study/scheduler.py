"""Running a study: its jobs in their order, as many at once as the runner has room for.

Knows jobs by their files alone: one is done when its result is there. So a study that was killed
goes on where it was, and one that is done is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fieldtune import settings
from fieldtune.errors import UserError
from fieldtune.lock import Held, exclusive
from fieldtune.train.config import RunConfig
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import first_difference
from fieldtune.train.study.plan import METHODS, Job, Method, Study, jobs, load_study, ready
from fieldtune.train.study.runners import Handle, Runner

LOOK_EVERY_S = 0.5
LOG_LINES = 6

OnLook = Callable[[list[Job], list[Job]], None]
"""Told all jobs, and those running, again and again."""


class StudyError(UserError):
    """The study cannot go on. The message says which job, what it said and the cure."""


def open_study(folder: Path, study: Study) -> None:
    """Create the study's folder, or check that what is there was asked for in the same way.

    More seeds may be asked for than before, and another `evaluation`, which no weights depend on:
    what was measured by the old one is told by `require_sound_results`, but for its noise.

    Raises:
        StudyError: the folder holds another study.
    """
    known = folder / "study.yaml"
    if known.exists():
        before = load_study(known)
        there = _measured_as(before.config, study)
        changed = first_difference(there.model_dump(), study.config.model_dump())
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
    noise = {"action_noise": config.evaluation.action_noise}  # no result says with which it was
    return config.model_copy(
        update={"evaluation": study.config.evaluation.model_copy(update=noise)}
    )


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
        runner: starts jobs, so many at once as it has slots; it stays open.
        on_look: called about twice a second with all jobs and those that run.
        methods: those that are asked for; what is done of others stays.

    Raises:
        StudyError: a job failed (the others were let finish), or the study runs elsewhere already.
    """
    everything = jobs(folder, seeds, methods)
    running: dict[Job, Handle] = {}
    begun: set[Job] = set()
    failed: list[Job] = []
    with _alone(folder):
        try:
            while True:
                for job in [j for j, handle in running.items() if handle.poll() is not None]:
                    running.pop(job)
                    if not job.done:
                        failed.append(job)
                for job in ready(everything, begun)[: runner.slots - len(running)]:
                    running[job] = runner.start(job)
                    begun.add(job)
                on_look(everything, list(running))
                if not running:
                    break
                time.sleep(LOOK_EVERY_S)
        finally:
            for handle in running.values():
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


def _last_words(job: Job) -> str:
    said = job.log.read_text(errors="replace").splitlines() if job.log.exists() else []
    last = "\n  ".join(said[-LOG_LINES:])
    return f"{job.title} failed; the end of {job.log}:\n  {last}"
