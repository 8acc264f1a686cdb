"""Means with their intervals, over tasks and seeds. Pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldtune.train.evaluation.results import Evaluation, PhaseResult

Floats = NDArray[np.float64]
LEVEL = 0.95  # of every interval
RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A mean over tasks and its bootstrap interval over tasks, at `LEVEL`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Shift:
    """How far contexts from own exploration lie from offline ones, in z-space.

    `distance` is the mean over tasks of the distance between the two centroids of a task, `spread`
    the root mean square distance of the tasks' offline centroids from their mean.
    """

    distance: float
    spread: float

    @property
    def relative(self) -> float:
        """`distance / spread`: at 1, a context lands as far off as tasks lie apart."""
        return self.distance / self.spread if self.spread > 0 else float("inf")


def over_tasks(returns: ArrayLike) -> Floats:
    """`(..., task, repeat)` averaged over repeats: `(..., task)`."""
    return np.asarray(returns, dtype=np.float64).mean(axis=-1)


def returns_by_task(evaluation: Evaluation) -> dict[str, Floats]:
    """Each task's mean return, `(task,)`, by the names of `Evaluation.returns`; those that are
    measured by task."""
    phases = evaluation.phases
    found = {"offline_context": over_tasks(phases["before"].offline_returns)}
    for name, phase in phases.items():
        source = "oracle" if name == "oracle" else f"online_{name}"
        found[source] = over_tasks(phase.curve[-1])
        if phase.likelihood_curve is not None:
            found[f"likelihood_{name}"] = over_tasks(phase.likelihood_curve[-1])
        if phase.first_episode is not None:
            found[f"first_episode_{name}"] = over_tasks(phase.first_episode)
    return found


def interval(values: ArrayLike) -> Interval:
    """Percentile bootstrap of the mean of `values` `(task,)`; the same input gives the same one."""
    tasks = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(len(tasks), size=(RESAMPLES, len(tasks)))
    edge = 50 * (1 - LEVEL)
    low, high = np.percentile(tasks[draws].mean(axis=1), [edge, 100 - edge])
    return Interval(float(tasks.mean()), float(low), float(high))


def shift(phase: PhaseResult) -> Shift:
    """The shift of one phase's posterior means."""
    offline = np.asarray(phase.offline_embeddings).mean(axis=1)
    online = np.asarray(phase.online_embeddings).mean(axis=1)
    spread = np.sqrt(np.square(offline - offline.mean(axis=0)).sum(axis=1).mean())
    return Shift(float(np.linalg.norm(online - offline, axis=1).mean()), float(spread))
