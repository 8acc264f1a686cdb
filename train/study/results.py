"""What one job of a study found, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from fieldtune.train.config import Evaluation
from fieldtune.train.evaluation.results import (
    Adapted,
    DecoderError,
    EvaluationError,
    Inference,
    PhaseResult,
)
from fieldtune.train.runs.origin import TOLD
from fieldtune.train.study.plan import Job, Method, Study, known_methods

Kind = TypeVar("Kind")


class Reached(msgspec.Struct, frozen=True):
    """Returns, and 1 or 0 for successes if the family has them, `(task, repeat)`."""

    returns: list[list[float]]
    successes: list[list[float]] | None = None

    @classmethod
    def of(cls, adapted: Adapted) -> Reached:
        """After as many context episodes as tables quote."""
        ended, k = adapted.successes, adapted.quoted
        return cls(adapted.returns[k], None if ended is None else ended[k])


class Point(msgspec.Struct, frozen=True):
    """On the way through phase 2: what each inference reached, once `steps` were learned."""

    steps: int
    updates: int
    reached: dict[Inference, Reached]


class JobResult(msgspec.Struct, frozen=True):
    """What one method with one seed came to, on the held-out tasks.

    `cpu_s` is this process's time alone, of the attempt that finished it, or an even share of it
    where several seeds had one process. `decoder`, `random` and `period_s`, of a control step, are
    the offline phase's to say.
    """

    name: str
    seed: int
    final: PhaseResult
    points: list[Point]
    cpu_s: float
    decoder: DecoderError | None = None
    random: float | None = None
    period_s: float | None = None


class ToldResult(msgspec.Struct, frozen=True):
    """What cloning came to that was told the held-out tasks, with one seed."""

    seed: int
    reached: Reached
    updates: int
    cpu_s: float


Results = dict[Method, list[JobResult]]
"""By method, seed by seed."""


def load_results(folder: Path, seeds: int) -> Results:
    """The results of every method that is done for all seeds.

    Raises:
        EvaluationError: that of `offline`, which all are compared with, is missing, or one is
            something else.
    """
    known = known_methods()
    done = {
        method for method in known if all(Job(folder, method, seed).done for seed in range(seeds))
    }
    return {
        method: [_load(folder, method, seed) for seed in range(seeds)]
        for method in known
        if method in done or method == "offline"
    }


def load_told(folder: Path, seeds: int) -> list[ToldResult]:
    """Those of `told`, seed by seed; empty where it is not done for all.

    Raises `EvaluationError` where one is something else.
    """
    found = [Job(folder, TOLD, seed) for seed in range(seeds)]
    if not all(job.done for job in found):
        return []
    return [_read(job.result, ToldResult) for job in found]


def require_sound_results(folder: Path, study: Study) -> None:
    """Look at what is there before the other jobs' days of work.

    Raises:
        EvaluationError: a result is damaged, of another version, or was measured by another
            protocol than is asked for now.
    """
    asked = study.config.evaluation
    for seed in range(study.seeds):
        for method in known_methods():
            job = Job(folder, method, seed)
            if job.done:
                returns = _load(folder, method, seed).final.encoder.returns
                _require_asked(job, len(returns) - 1, len(returns[0][0]), asked)
        told = Job(folder, TOLD, seed)
        if told.done:  # of a family's start states alone: no context
            repeats = len(_read(told.result, ToldResult).reached.returns[0])
            _require_asked(told, asked.context_episodes, repeats, asked)


def _require_asked(job: Job, episodes: int, repeats: int, asked: Evaluation) -> None:
    if (episodes, repeats) != (asked.context_episodes, asked.repeats):
        raise EvaluationError(
            f"{job.result}: measured over {episodes} context episodes and {repeats} "
            f"repeats, and evaluation asks for {asked.context_episodes} and "
            f"{asked.repeats}: {_CURE}"
        )


_CURE = (
    "remove the file, and run the same command again to do that job anew; what it has trained is "
    "in its checkpoint, and is only measured again"
)


def _load(folder: Path, method: Method, seed: int) -> JobResult:
    return _read(Job(folder, method, seed).result, JobResult)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise EvaluationError(
            f"{path}: no result of a study's job, or of another version ({error}): {_CURE}"
        ) from error
