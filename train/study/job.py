"""One job of a study, its own process: `python -m fieldtune.train.study.job STUDY NAME [SEED]`.

Goes on from its own checkpoint, writes its result when it is done, and ends when the process that
started it is gone (its standard input closes), so that a killed study leaves nothing running.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import typer

from fieldtune.errors import RESUMABLE, report_user_errors
from fieldtune.files import write_atomically
from fieldtune.sim.rollout import random_return
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.alone import InUse
from fieldtune.train.collecting.collect import collect
from fieldtune.train.evaluation.measure import REFERENCE_SEEDS, decoder_error, measure
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.evaluation.results import DecoderError, PhaseResult
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.origin import ORACLE, SELF_SUPERVISED
from fieldtune.train.runs.replays import held_out_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import averaged
from fieldtune.train.study.plan import DATA, PHASE_2, Job, Study, load_study
from fieldtune.train.study.results import JobResult, Point

POINTS = 5  # evaluations on the way through phase 2, evenly spread over its steps
TRIALS_AT_ONCE = 5  # the reference's: data comes in small portions, so points are near their marks
REPORT_EVERY_S = 1.0
EARLIER_S, LOOK_S = 60.0, 1.0


def run_job(job: Job) -> None:
    """Do `job`, unless it is done."""
    if job.done:
        return
    job.result.parent.mkdir(parents=True, exist_ok=True)
    study = load_study(job.study / "study.yaml")
    if job.seed is None:
        _make_data(job, study)
        return
    config = study.config.model_copy(update={"seed": job.seed})
    run = open_run(config, job.folder)
    report = _Report(job.progress)
    work = _phase_2 if job.name in PHASE_2 else _offline
    result = work(job, run, report)
    write_atomically(job.result, msgspec.json.format(msgspec.json.encode(result)))


def _make_data(job: Job, study: Study) -> None:
    report = _Report(job.progress)
    if not Path(study.config.data.path).exists():  # else made before a kill, or by the user
        collect(study.config, lambda done, total, _: report(done, total))
    facts = {"name": DATA, "path": study.config.data.path}
    write_atomically(job.result, msgspec.json.encode(facts))


def _offline(job: Job, run: Run, report: _Report) -> JobResult:
    """Phase 1 of the configured algorithm or of a baseline, and what adaptation gives after it."""
    updates = run.config.offline.updates
    learner = train_offline(
        run,
        name=None if job.name == "offline" else job.name,
        on_update=lambda done: report(done, updates),
    )
    ours = job.name == "offline"
    return JobResult(
        name=job.name,
        seed=run.config.seed,
        final=_measured(run, learner, updates, 0),
        points=[],
        cpu_s=time.process_time(),
        decoder=_decoder_error(run, learner) if ours else None,
        random=_random(run) if ours else None,
    )


def _phase_2(job: Job, run: Run, report: _Report) -> JobResult:
    """Phase 2, with its points; they are kept in its checkpoints, so that a kill costs none."""
    encoder = "frozen" if job.name == "frozen" else "trained"
    phase = run.config.self_supervised.model_copy(update={"encoder": encoder})
    run = replace(run, config=run.config.model_copy(update={"self_supervised": phase}))
    checkpoint = run.folder / "checkpoints" / f"{job.name}.safetensors"
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)

    def look(now: SelfSupervisedPhase) -> None:
        points: list = now.facts.setdefault("points", [])  # type: ignore[assignment]
        if now.steps >= (len(points) + 1) * phase.steps / POINTS:
            found = evaluator.online(now.average, run.config.seed, curve=False)
            point = [now.steps, now.updates, found.curve[-1].tolist()]
            points.append(
                point if found.successes is None else [*point, found.successes[-1].tolist()]
            )
            now.save(checkpoint)

    try:
        train_in_process(
            run,
            checkpoint,
            true_rewards=job.name == "oracle",
            on_update=lambda done: report(done, phase.updates),
            on_caught_up=look,
            trials_at_once=TRIALS_AT_ONCE,
        )
    finally:
        evaluator.close()
    facts = read_facts(checkpoint)
    algorithm = averaged(run, checkpoint, ORACLE if job.name == ORACLE else SELF_SUPERVISED)
    final = _measured(run, algorithm, int(facts["updates"]), int(facts["steps"]))
    points = [Point(*point) for point in facts.get("points", [])][: POINTS - 1]
    successes = None if final.successes is None else final.successes[-1]
    last = Point(final.steps, final.updates, final.curve[-1], successes)
    return JobResult(job.name, run.config.seed, final, [*points, last], time.process_time())


def _measured(run: Run, trained: Algorithm, updates: int, steps: int) -> PhaseResult:
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        return measure(
            evaluator, trained, held_out_replay(run, trained), run.config.seed, updates, steps
        )
    finally:
        evaluator.close()


def _decoder_error(run: Run, trained: Algorithm) -> DecoderError:
    agent = require_self_supervised(run, trained).agent
    return decoder_error(agent, held_out_replay(run, agent), run.config.seed)


def _random(run: Run) -> float:
    seeds = np.arange(REFERENCE_SEEDS, dtype=np.int64)
    return random_return(run.family, run.dataset.test_tasks, seeds)


class _Report:
    """Leaves `done total` in a file now and then; losing it loses nothing."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, -float("inf")
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, done: int, total: int) -> None:
        if done < total and time.monotonic() - self._last < REPORT_EVERY_S:
            return
        self._last = time.monotonic()
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{done} {total}")
        fresh.replace(self._path)


def end_with_parent() -> None:
    """End this process at once when its standard input closes: checkpoints make that harmless."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


def run_after_earlier(job: Job) -> None:
    """`run_job`, once the job of a study that was killed has ended: on a cluster that takes a
    while. Raises `InUse` where it does not end."""
    deadline = time.monotonic() + EARLIER_S
    while True:
        try:
            return run_job(job)
        except InUse:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_S)


def main() -> None:
    folder, name, *seed = sys.argv[1:]
    end_with_parent()
    try:
        with report_user_errors(RESUMABLE):
            run_after_earlier(Job(Path(folder), name, int(seed[0]) if seed else None))
    except typer.Exit as end:  # its message is the end of the log, which the study shows
        raise SystemExit(end.exit_code) from None


if __name__ == "__main__":
    main()
