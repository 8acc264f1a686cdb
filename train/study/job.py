"""One job of a study, its own process: `python -m fieldtune.train.study.job STUDY NAME [SEED …]`;
with several seeds, those jobs in one process (`fieldtune.train.study.together`).

Goes on from its own checkpoint, writes its result when it is done, and ends when the process that
started it is gone (its standard input closes), so that a killed study leaves nothing running.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import typer

from fieldtune.errors import RESUMABLE, report_user_errors
from fieldtune.exit_status import MISTAKE
from fieldtune.files import write_atomically
from fieldtune.sim.rollout import random_return
from fieldtune.train.agent.told import ToldActor
from fieldtune.train.algorithms.algorithm import Algorithm, Exportable
from fieldtune.train.alone import InUse
from fieldtune.train.collecting.collect import collect
from fieldtune.train.cores import workers
from fieldtune.train.device import resolve
from fieldtune.train.evaluation.measure import (
    REFERENCE_SEEDS,
    decoder_error,
    measure,
    reached,
)
from fieldtune.train.evaluation.protocol import Acted, Evaluator
from fieldtune.train.evaluation.results import DecoderError, Inference, PhaseResult
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.longer_offline import train_longer_offline
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.online import train_online
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.phases.told import train_told
from fieldtune.train.runs.added_decoder import decoded
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.origin import (
    LONGER_OFFLINE,
    ONLINE,
    ONLINE_METHOD,
    ORACLE,
    SELF_SUPERVISED,
    TOLD,
)
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import averaged
from fieldtune.train.study.plan import (
    BY_ENCODER,
    DATA,
    FROZEN,
    PHASE_2,
    TRUE_REWARDS,
    Job,
    Study,
    load_study,
)
from fieldtune.train.study.results import JobResult, Point, Reached, ToldResult
from fieldtune.train.study.together import run_together
from fieldtune.train.turns import aside, compute_on, jobs_here, let_others

POINTS = 5  # evaluations on the way through phase 2, evenly spread over its steps
TRIALS_AT_ONCE = 5  # the reference's: data comes in small portions, so points are near their marks
REPORT_EVERY_S = 1.0
EARLIER_S, LOOK_S = 60.0, 1.0
Work = Callable[[Job, Run, "_Report"], JobResult | ToldResult]


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
    compute_on(resolve(config.device))
    run = open_run(config, job.folder)
    report = _Report(job.progress)
    work: dict[str, Work] = dict.fromkeys(PHASE_2, _phase_2)
    work |= {"longer-offline": _longer_offline, ONLINE: _online, TOLD: _told}
    result = work.get(job.name, _offline)(job, run, report)
    write_atomically(job.result, msgspec.json.format(msgspec.json.encode(result)))


def _make_data(job: Job, study: Study) -> None:
    report = _Report(job.progress)
    if not Path(study.config.data.path).exists():  # else made before a kill, or by the user
        collect(study.config, lambda done, total, _: report(done, total))
    facts = {"name": DATA, "path": study.config.data.path}
    write_atomically(job.result, msgspec.json.encode(facts))


def _offline(job: Job, run: Run, report: _Report) -> JobResult:
    """Phase 1 of the configured algorithm or of a baseline, and what adaptation gives after it."""
    updates, ours = run.config.offline.updates, job.name == "offline"
    name = run.config.algorithm.name if ours else job.name
    learner = train_offline(run, name=name, on_update=lambda done: report(done, updates))
    run = as_method(run, name)
    return JobResult(
        name=job.name,
        seed=run.config.seed,
        final=_measured(run, learner, updates, 0),
        points=[],
        cpu_s=_cpu_s(),
        decoder=_decoder_error(run, learner) if ours else None,
        random=_random(run) if ours else None,
        period_s=run.family.period_s if ours else None,
    )


def _phase_2(job: Job, run: Run, report: _Report) -> JobResult:
    """Phase 2, with its points; they are kept in its checkpoints, so that a kill costs none."""
    run, phase = _as_asked(run, job.name), run.config.self_supervised
    checkpoint = run.folder / "checkpoints" / f"{job.name}.safetensors"
    _require_same_inference(run, checkpoint)
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)

    def look(now: SelfSupervisedPhase) -> None:
        measured: list = now.facts.setdefault("measured", [])  # type: ignore[assignment]
        if now.steps >= (len(measured) + 1) * phase.steps / POINTS:
            now.save(checkpoint)  # who ends this does not wait for what is measured
            point = Point(now.steps, now.updates, _reached(evaluator, now))
            measured.append(msgspec.to_builtins(point))
            now.save(checkpoint)

    try:
        train_in_process(
            run,
            checkpoint,
            true_rewards=job.name in TRUE_REWARDS,
            on_update=lambda done: report(done, phase.updates),
            on_caught_up=look,
            trials_at_once=TRIALS_AT_ONCE,
        )
    finally:
        evaluator.close()
    facts = read_facts(checkpoint)
    algorithm = averaged(run, checkpoint, ORACLE if job.name in TRUE_REWARDS else SELF_SUPERVISED)
    final = _measured(run, algorithm, int(facts["updates"]), int(facts["steps"]))
    points = msgspec.convert(facts.get("measured", [])[: POINTS - 1], list[Point])
    last = Point(
        final.steps, final.updates, {name: Reached.of(one) for name, one in final.inferences}
    )
    return JobResult(job.name, run.config.seed, final, [*points, last], _cpu_s())


def _longer_offline(job: Job, run: Run, report: _Report) -> JobResult:
    """The control: as many further updates as phase 2 has, on phase 1's data."""
    checkpoint = run.folder / "checkpoints" / f"{job.name}.safetensors"
    updates = run.config.self_supervised.updates
    train_longer_offline(run, checkpoint, lambda done: report(done, updates))
    final = _measured(run, averaged(run, checkpoint, LONGER_OFFLINE), updates, 0)
    return JobResult(job.name, run.config.seed, final, [], _cpu_s())


def _online(job: Job, run: Run, report: _Report) -> JobResult:
    """PEARL from nothing, in the simulator with rewards."""
    checkpoint = run.folder / "checkpoints" / f"{job.name}.safetensors"
    updates = run.config.online.updates
    learner, steps = train_online(run, checkpoint, lambda done: report(done, updates))
    final = _measured(as_method(run, ONLINE_METHOD), learner, updates, steps)
    return JobResult(job.name, run.config.seed, final, [], _cpu_s())


def _told(job: Job, run: Run, report: _Report) -> ToldResult:
    """Cloning that is told each task, and what it does on the held-out ones."""
    updates = run.config.offline.updates
    checkpoint = run.folder / "checkpoints" / f"{job.name}.safetensors"
    told = train_told(run, checkpoint, lambda done: report(done, updates))
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        acted = evaluator.acted(ToldActor(told, evaluator.tasks), run.config.seed)
    finally:
        evaluator.close()
    return ToldResult(run.config.seed, _as_reached(acted), updates, _cpu_s())


def _as_asked(run: Run, method: str) -> Run:
    """`run` with what the method changes: who infers as phase 2 explores, and what it freezes."""
    phase = run.config.self_supervised.model_copy(
        update={"encoder": "frozen" if method in FROZEN else "trained"}
    )
    changed: dict[str, object] = {"self_supervised": phase}
    if method in BY_ENCODER:
        changed["inference"] = "encoder"
    return replace(run, config=run.config.model_copy(update=changed))


def _require_same_inference(run: Run, checkpoint: Path) -> None:
    """What an older version wrote does not say, and had explored by the encoder."""
    if run.config.inference == "encoder" or not checkpoint.exists():
        return
    if "inference" not in read_facts(checkpoint).get("settings", {}):
        raise CheckpointError(
            f"{checkpoint}: explored by the encoder, and this study's phase 2 explores by "
            f"{run.config.inference}: remove it, or set inference=encoder"
        )


def _reached(evaluator: Evaluator, now: SelfSupervisedPhase) -> dict[Inference, Reached]:
    """What the averaged weights reach now, by each inference."""
    found = reached(now.run, evaluator, now.average)
    return {name: _as_reached(acted) for name, acted in found.items()}


def _as_reached(acted: Acted) -> Reached:
    ended = acted.successes
    return Reached(acted.returns.tolist(), None if ended is None else ended.tolist())


def _measured(run: Run, trained: Algorithm, updates: int, steps: int) -> PhaseResult:
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        return measure(run, evaluator, trained, updates, steps)
    finally:
        evaluator.close()


def _decoder_error(run: Run, trained: Algorithm) -> DecoderError | None:
    """None of an algorithm that has no place for a decoder."""
    if not isinstance(trained, Exportable):
        return None
    agent = decoded(run, trained).agent
    learned_from = offline_replay(run, agent)
    held_out = held_out_replay(run, agent)
    return decoder_error(agent, held_out, run.config.seed, trained=learned_from)


def _random(run: Run) -> float:
    seeds = np.arange(REFERENCE_SEEDS, dtype=np.int64)
    with aside():
        return random_return(run.family, run.dataset.test_tasks, seeds, workers(run.config.workers))


def _cpu_s() -> float:
    """Processor time of this process; an even share of it where it has several jobs."""
    return time.process_time() / jobs_here()


class _Report:
    """Leaves `done total` in a file now and then; losing it loses nothing.

    It is called after each update, when other jobs of the process have their turn.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, -float("inf")
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, done: int, total: int) -> None:
        let_others()
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
        with aside():
            time.sleep(LOOK_S)


def main() -> None:
    folder, name, *seeds = sys.argv[1:]
    end_with_parent()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("fieldtune.train.device").setLevel(logging.INFO)  # which, for the log
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it learns is saved first
    if len(seeds) < 2:
        _run(Job(Path(folder), name, int(seeds[0]) if seeds else None))
    elif run_together([Job(Path(folder), name, int(seed)) for seed in seeds], _run):
        raise SystemExit(MISTAKE)


def _run(job: Job) -> None:
    """Run `job`; what a person can mend is told in its log, which the study shows the end of."""
    try:
        with report_user_errors(RESUMABLE):
            run_after_earlier(job)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


if __name__ == "__main__":
    main()
