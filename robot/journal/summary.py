"""What the steps of one episode come to: how often they were changed, late or old, and by how much.

Pure functions of an episode's steps; knows neither the journal nor how this is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldtune.robot.episodes.episode import Step


@dataclass(frozen=True)
class Spread:
    """Of one quantity over an episode, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class StepSummary:
    """`clamped` counts the steps that carry a reason, and `reasons` each reason by itself: a step
    may have several. `spreads` is by name: period, observation age, inference, apply; empty for
    quantities that no step has."""

    steps: int
    clamped: int
    reasons: dict[str, int]
    overruns: int
    spreads: dict[str, Spread]


def summarise(steps: Sequence[Step]) -> StepSummary:
    """`period` is between the sense times of neighbouring steps."""
    reasons = Counter(reason for step in steps if step.reason for reason in step.reason.split("; "))
    times = {
        "period": np.diff([step.sense_ns for step in steps]),
        "observation age": np.array([step.observation_age_ns for step in steps]),
        "inference": np.array([step.infer_ns for step in steps]),
        "apply": np.array([step.apply_ns for step in steps]),
    }
    return StepSummary(
        steps=len(steps),
        clamped=sum(bool(step.reason) for step in steps),
        reasons=dict(reasons.most_common()),
        overruns=sum(step.overrun for step in steps),
        spreads={name: _spread(values / 1e6) for name, values in times.items() if values.size},
    )


def _spread(values_ms: np.ndarray) -> Spread:
    p50, p99 = np.percentile(values_ms, [50, 99])
    return Spread(float(p50), float(p99), float(values_ms.max()))
