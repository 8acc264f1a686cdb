"""Means with their intervals, over seeds and tasks, and shares of a gap. Pure functions of arrays.

A cell is one task's mean over its repeats, with one seed. Intervals are of a hierarchical bootstrap
(Davison and Hinkley, Bootstrap Methods and their Application, sec. 3.8): seeds are drawn with
replacement, then tasks within each of them, since cells of one seed share its training and are no
independent draws. With one seed, tasks alone are drawn, and nothing is said of other seeds. What is
compared is drawn together, cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldtune.train.evaluation.results import HEADLINES, Adapted, Evaluation, PhaseResult

Floats = NDArray[np.float64]
LEVEL = 0.95  # of every interval
RESAMPLES = 4000


@dataclass(frozen=True)
class Estimate:
    """A statistic and its bootstrap interval at `LEVEL`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """What there is to close, and the share of it that was closed.

    `size` is goal − before. `closed` is (after − before) / size; None where `size` is not surely
    above 0, since a share of nothing is no number.
    """

    size: Estimate
    closed: Estimate | None


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


def mean(cells: ArrayLike) -> Estimate:
    """The mean of `cells`, `(seed, task)`, or `(task,)` of one seed; the same cells give the same
    interval."""
    found = np.atleast_2d(np.asarray(cells, dtype=np.float64))
    return _estimate(float(found.mean()), _resampled(found))


def difference(cells: ArrayLike, others: ArrayLike) -> Estimate:
    """The mean of `cells` less that of `others`, paired by cell; of shapes as `mean`'s."""
    return mean(np.asarray(cells, dtype=np.float64) - np.asarray(others, dtype=np.float64))


def gap(before: ArrayLike, after: ArrayLike, goal: ArrayLike) -> Gap:
    """How much of the way from `before` to `goal` was closed, by means, paired by cell.

    Args:
        before, after, goal: `(seed, task)`, or `(task,)` of one seed.
    """
    cells = [np.atleast_2d(np.asarray(each, dtype=np.float64)) for each in (before, after, goal)]
    low, reached, high = (float(each.mean()) for each in cells)
    lows, reacheds, highs = (_resampled(each) for each in cells)
    size = _estimate(high - low, highs - lows)
    if size.value <= 0 or size.low <= 0:
        return Gap(size, None)
    sizes = np.where(highs > lows, highs - lows, np.nan)
    shares = (reacheds - lows) / sizes
    return Gap(size, _estimate((reached - low) / size.value, shares[np.isfinite(shares)]))


def returns_by_task(evaluation: Evaluation) -> dict[str, Floats]:
    """Each task's mean return, `(task,)`, by the names of `Evaluation.returns`; those that are
    measured by task."""
    phases = evaluation.phases
    found = {"offline_context": over_tasks(phases["before"].offline_returns)}
    for name, phase in phases.items():
        found[HEADLINES[name]] = quoted(phase.encoder)
        if phase.likelihood is not None:
            found[f"likelihood_{name}"] = quoted(phase.likelihood)
            if phase.likelihood.first_episode is not None:
                first = phase.likelihood.first_episode
                found[f"first_episode_{name}"] = over_tasks(first.returns)
    return found


def quoted(adapted: Adapted) -> Floats:
    """Each task's mean return from own exploration by one inference, `(task,)`, as quoted."""
    return over_tasks(adapted.returns[adapted.quoted])


def recovery(evaluation: Evaluation) -> Gap | None:
    """What phase 2 closed of the way to the nearer of oracle and offline context, by the encoder;
    None where there was no phase 2."""
    by_task = returns_by_task(evaluation)
    if "online_after" not in by_task:
        return None
    goals = [by_task[name] for name in ("oracle", "offline_context") if name in by_task]
    nearer = min(goals, key=lambda cells: float(cells.mean()))
    return gap(by_task["online_before"], by_task["online_after"], nearer)


def shift(phase: PhaseResult) -> Shift:
    """The shift of one phase's posterior means, by its encoder."""
    offline = np.asarray(phase.offline_embeddings).mean(axis=1)
    online = np.asarray(phase.encoder.embeddings).mean(axis=1)
    spread = np.sqrt(np.square(offline - offline.mean(axis=0)).sum(axis=1).mean())
    return Shift(float(np.linalg.norm(online - offline, axis=1).mean()), float(spread))


@lru_cache(maxsize=8)
def _drawn(seeds: int, tasks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which seeds and which tasks of each, `(resample, seed, 1)` and `(resample, seed, task)`."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(seeds, size=(RESAMPLES, seeds, 1))
    return chosen, rng.integers(tasks, size=(RESAMPLES, seeds, tasks))


def _resampled(cells: Floats) -> Floats:
    """Means of the resamples of `cells` `(seed, task)`, `(resample,)`: always the same draws."""
    return cells[_drawn(*cells.shape)].mean(axis=(1, 2))


def _estimate(value: float, resamples: Floats) -> Estimate:
    edge = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(resamples, [edge, 100.0 - edge])
    return Estimate(value, float(low), float(high))
