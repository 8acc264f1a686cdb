"""What one job of a study found, and its file."""

from __future__ import annotations

import msgspec

from fieldtune.train.evaluation.results import DecoderError, PhaseResult


class Point(msgspec.Struct, frozen=True):
    """On the way: return after K context episodes, `(task, repeat)`, once `steps` were learned.

    `successes` likewise, 1 or 0, where the family has success.
    """

    steps: int
    updates: int
    returns: list[list[float]]
    successes: list[list[float]] | None = None


class JobResult(msgspec.Struct, frozen=True):
    """What one method with one seed came to, on the held-out tasks.

    `cpu_s` is this process's time alone, of the attempt that finished it. `decoder` and `random`
    are the offline phase's to say.
    """

    name: str
    seed: int
    final: PhaseResult
    points: list[Point]
    cpu_s: float
    decoder: DecoderError | None = None
    random: float | None = None
