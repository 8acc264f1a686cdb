"""A study small enough to be run whole, and results with numbers of one's choice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fieldtune.train.evaluation.calibration import calibration
from fieldtune.train.evaluation.results import DecoderError, DynamicsExplained, PhaseResult
from fieldtune.train.study.plan import METHODS
from fieldtune.train.study.results import JobResult, Point
from fieldtune.train.study.summary import Results

TASKS, REPEATS, LATENT = 6, 2, 3


def _phase(
    rng: np.random.Generator, online: float, offline: float, steps: int, success: float | None
) -> PhaseResult:
    def returns(mean: float) -> list[list[float]]:
        return (mean + rng.normal(0, 0.5, (TASKS, REPEATS))).tolist()

    def embedded() -> list[list[list[float]]]:
        return rng.normal(0, 1, (TASKS, REPEATS, LATENT)).tolist()

    curve = [returns(online - 5), returns(online - 1), returns(online)]
    if success is None:
        return PhaseResult(curve, returns(offline), embedded(), embedded(), 100, steps)
    ended = np.broadcast_to([[success, 1.0]], (3, TASKS, REPEATS)).tolist()
    return PhaseResult(curve, returns(offline), embedded(), embedded(), 100, steps, ended, ended[0])


@pytest.fixture
def make_results() -> Callable[..., Results]:
    """`make_results(before=-180, trained=-80, frozen=-160, oracle=-60, seeds=2, success=None,
    dynamics=None)`.

    `success` is what every other repeat comes to, and one the rest: for a sparse family.
    `dynamics` is what z explains of s', own and other, where bodies differ.
    """

    def make(
        before: float = -180.0,
        trained: float = -80.0,
        frozen: float = -160.0,
        oracle: float = -60.0,
        seeds: int = 2,
        success: float | None = None,
        dynamics: tuple[float, float] | None = None,
    ) -> Results:
        means = dict(
            zip(METHODS, (before, trained, frozen, oracle, before - 9, before - 20), strict=True)
        )

        judged = (
            None if success is None else calibration(np.array([0.1, 0.8]), np.array([0, 1]) > 0)
        )

        seen = None if dynamics is None else DynamicsExplained(*dynamics)

        def result(method: str, seed: int) -> JobResult:
            rng = np.random.default_rng([seed, *method.encode()])
            phase_2 = method in ("trained", "frozen", "oracle")
            final = _phase(rng, means[method], -50.0, 1000 if phase_2 else 0, success)  # type: ignore[index]
            points = []
            if phase_2:
                half = (before + means[method]) / 2  # type: ignore[index]
                ended = None if final.successes is None else final.successes[-1]
                points = [
                    Point(500, 50, np.full((TASKS, REPEATS), half).tolist(), ended),
                    Point(1000, 100, final.curve[-1], ended),
                ]
            return JobResult(
                name=method,
                seed=seed,
                final=final,
                points=points,
                cpu_s=60.0,
                decoder=DecoderError(0.1, 0.97, judged, seen) if method == "offline" else None,
                random=-330.0 if method == "offline" else None,
            )

        return {method: [result(method, seed) for seed in range(seeds)] for method in METHODS}

    return make
