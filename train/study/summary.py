"""What a study's results come to: interquartile means, bootstrap intervals, gap closed.

Pure functions of job results. Every statistic is over (seed, task) cells, each the mean of its
repeats; methods are compared cell by cell. Sources: Agarwal et al. 2021 (arXiv 2108.13264) for the
interquartile mean, docs/results/README.md for the gap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.evaluation.statistics import LEVEL, RESAMPLES, over_tasks, shift
from fieldtune.train.study.plan import METHODS, Job, Method
from fieldtune.train.study.results import JobResult

Floats = NDArray[np.float64]
Results = dict[Method, list[JobResult]]


@dataclass(frozen=True)
class Estimate:
    """A statistic and its bootstrap interval at `LEVEL`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One line of the table; `gap_closed` where the method is there to close it and there is one.

    `closes`: whether the method is there for that. `success` is the mean share, with each seed's,
    where the family has success.
    """

    name: str
    iqm: Estimate
    by_seed: list[float]
    closes: bool = False
    gap_closed: Estimate | None = None
    success: Estimate | None = None
    success_by_seed: list[float] | None = None


@dataclass(frozen=True)
class Curve:
    """Return by reward-free steps: mean over seeds of what was learned from, IQM of the return.

    `gap_closed` is None where there is no gap; `success`, the mean share, where the family has it.
    """

    steps: list[float]
    iqm: list[Estimate]
    gap_closed: list[Estimate | None]
    success: list[Estimate] | None = None


def load_results(folder: Path, seeds: int) -> Results:
    """Every method's results, seed by seed.

    Raises:
        EvaluationError: one is missing or something else.
    """

    return {method: [_load(folder, method, seed) for seed in range(seeds)] for method in METHODS}


def require_sound_results(folder: Path, seeds: int) -> None:
    """Raise `EvaluationError` for a result that is there and damaged, before the other jobs."""
    for method in METHODS:
        for seed in range(seeds):
            if Job(folder, method, seed).done:
                _load(folder, method, seed)


def _load(folder: Path, method: Method, seed: int) -> JobResult:
    path = Job(folder, method, seed).result
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobResult)
    except (OSError, msgspec.DecodeError) as error:
        raise EvaluationError(
            f"{path}: no result of a study's job ({error}): remove the file, and run the same "
            "command again to do that job anew"
        ) from error


def online(results: Sequence[JobResult]) -> Floats:
    """Return after K episodes of own exploration, `(seed, task)`."""
    return np.stack([over_tasks(result.final.curve[-1]) for result in results])


def offline(results: Sequence[JobResult]) -> Floats:
    """Return with contexts from offline data, `(seed, task)`."""
    return np.stack([over_tasks(result.final.offline_returns) for result in results])


def online_success(results: Sequence[JobResult]) -> Floats | None:
    """Share of success after K episodes of own exploration, `(seed, task)`, where there is any."""
    known = [r.final.successes[-1] for r in results if r.final.successes is not None]
    return np.stack([over_tasks(each) for each in known]) if known else None


def offline_success(results: Sequence[JobResult]) -> Floats | None:
    """Share of success with contexts from offline data, likewise."""
    known = [r.final.offline_successes for r in results if r.final.offline_successes is not None]
    return np.stack([over_tasks(each) for each in known]) if known else None


def rows(results: Results) -> list[Row]:
    """The table, best source of context first."""
    before, oracle = online(results["offline"]), online(results["oracle"])

    def row(name: str, method: Method, source: str = "own", gap: bool = False) -> Row:
        found = results[method]
        own = source == "own"
        cells = online(found) if own else offline(found)
        success = online_success(found) if own else offline_success(found)
        return Row(
            name,
            iqm(cells),
            cells.mean(axis=1).tolist(),
            gap,
            gap_closed(before, cells, oracle) if gap else None,
            None if success is None else mean(success),
            None if success is None else success.mean(axis=1).tolist(),
        )

    return [
        row("SMAC, offline context: the ceiling that hides the shift", "offline", "offline"),
        row("SMAC, own exploration, before phase 2", "offline"),
        row("after phase 2, self-labelled, encoder trained", "trained", gap=True),
        row("after phase 2, self-labelled, encoder frozen", "frozen", gap=True),
        row("after phase 2 with true rewards: the oracle", "oracle"),
        row("meta-behaviour cloning, own exploration", "meta-bc"),
        row("meta-behaviour cloning, offline context", "meta-bc", "offline"),
        row("PEARL on the static data, own exploration", "pearl"),
        row("PEARL on the static data, offline context", "pearl", "offline"),
    ]


def curve(results: Results, method: Method) -> Curve:
    """`method`'s return by reward-free steps; before phase 2 is at 0."""
    before, oracle = online(results["offline"]), online(results["oracle"])
    points = [result.points for result in results[method]]
    steps, returns = [0.0], [before]
    first = online_success(results["offline"])
    successes = [] if first is None else [first]
    for column in zip(*points, strict=True):
        steps.append(float(np.mean([point.steps for point in column])))
        returns.append(np.stack([over_tasks(point.returns) for point in column]))
        known = [over_tasks(point.successes) for point in column if point.successes is not None]
        if known:
            successes.append(np.stack(known))
    return Curve(
        steps,
        [iqm(cells) for cells in returns],
        [gap_closed(before, c, oracle) for c in returns],
        [mean(cells) for cells in successes] or None,
    )


def shifts(results: Results) -> dict[Method, float]:
    """By method: how far own contexts land from offline ones, in spreads of tasks, over seeds."""
    return {
        method: float(np.mean([shift(result.final).relative for result in found]))
        for method, found in results.items()
    }


def iqm(cells: ArrayLike) -> Estimate:
    """Interquartile mean over all `(seed, task)`."""

    def statistic(values: Floats, axis: int = -1) -> Floats:
        return stats.trim_mean(values, 0.25, axis=axis)

    return _estimate(statistic, [np.asarray(cells, dtype=np.float64).ravel()])


def mean(cells: ArrayLike) -> Estimate:
    """Mean over all `(seed, task)`: what a share of successes is, which has no outliers to trim."""
    return _estimate(np.mean, [np.asarray(cells, dtype=np.float64).ravel()])


def gap_closed(before: Floats, after: Floats, oracle: Floats) -> Estimate | None:
    """(after − before) / (oracle − before) of the means, paired by cell.

    Args:
        before, after, oracle: returns `(seed, task)`: before phase 2, after it, and after it with
            true rewards.

    Returns:
        None where true rewards gain nothing, and so leave no gap. Resamples without one are left
        out of the interval.
    """
    if oracle.mean() <= before.mean():
        return None

    def statistic(b: Floats, a: Floats, o: Floats, axis: int = -1) -> Floats:
        low = b.mean(axis=axis)
        gap = o.mean(axis=axis) - low
        return (a.mean(axis=axis) - low) / np.where(gap == 0.0, np.nan, gap)

    return _estimate(statistic, [before.ravel(), after.ravel(), oracle.ravel()])


def _estimate(statistic: Callable[..., Floats], samples: list[Floats]) -> Estimate:
    """Percentile bootstrap; the same samples give the same interval."""
    value = float(statistic(*samples))
    if len(samples[0]) < 2:
        return Estimate(value, value, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # one value, and no spread
        resampled = stats.bootstrap(
            samples,
            statistic,
            paired=len(samples) > 1,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).bootstrap_distribution
    outside = 50.0 * (1.0 - LEVEL)
    known = resampled[np.isfinite(resampled)]
    low, high = np.percentile(known, [outside, 100.0 - outside])
    return Estimate(value, float(low), float(high))
