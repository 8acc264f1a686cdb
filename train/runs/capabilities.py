"""What a run's algorithm can do beside learning from labelled data; one sentence where it cannot.

Knows algorithms by their protocols alone.
"""

from __future__ import annotations

from fieldtune.train.algorithms.algorithm import Algorithm, Exportable, SelfSupervised
from fieldtune.train.runs.run import Run, RunError


def require_self_supervised(run: Run, algorithm: Algorithm) -> SelfSupervised:
    """`algorithm`, which has a phase 2. Raises `RunError`."""
    if not isinstance(algorithm, SelfSupervised):
        raise RunError(
            f"{run.folder}: algorithm {run.config.algorithm.name!r} has no phase 2: it learns from "
            "labelled data alone, and labels none"
        )
    return algorithm


def require_exportable(run: Run, algorithm: Algorithm) -> Exportable:
    """`algorithm`, which a robot can run. Raises `RunError`, with what one of others says by an
    attribute `not_exportable`."""
    if not isinstance(algorithm, Exportable):
        why = getattr(algorithm, "not_exportable", "it has no graphs that a robot can run")
        raise RunError(
            f"{run.folder}: algorithm {run.config.algorithm.name!r} cannot be exported: {why}"
        )
    return algorithm


def require_decoder(run: Run, algorithm: Algorithm) -> Exportable:
    """`algorithm`, whose z a decoder reads, be it learned or added. Raises `RunError`."""
    if not isinstance(algorithm, Exportable):
        raise RunError(
            f"{run.folder}: algorithm {run.config.algorithm.name!r} has no reward decoder to ask, "
            "and infers no z that one could be given for: a study measures it (--methods)"
        )
    return algorithm
