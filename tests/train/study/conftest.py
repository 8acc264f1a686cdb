"""A study small enough to be run whole, and results with numbers of one's choice."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from fieldtune.train.evaluation.calibration import calibration
from fieldtune.train.evaluation.results import (
    Adapted,
    DecoderError,
    DynamicsExplained,
    FirstEpisode,
    PhaseResult,
    Swapped,
)
from fieldtune.train.study.plan import METHODS, PHASE_2, Job, Method
from fieldtune.train.study.results import JobResult, Point, Reached, Results

TASKS, REPEATS, LATENT, EPISODES = 6, 2, 3, 4
ANOTHER = 30.0  # what another task's exploration returns less than the own
BETTER = 20.0  # what the likelihood returns more than the encoder


def _adapted(
    rng: np.random.Generator, mean: float, success: float | None, likelihood: bool
) -> Adapted:
    def returns(mean: float) -> list[list[float]]:
        return (mean + rng.normal(0, 0.5, (TASKS, REPEATS))).tolist()

    curve = [returns(mean - 5), returns(mean - 1), *(returns(mean) for _ in range(EPISODES - 1))]
    ended = None
    if success is not None:
        ended = np.broadcast_to([[success, 1.0]], (EPISODES + 1, TASKS, REPEATS)).tolist()
    first = returns(mean - 2)
    return Adapted(
        returns=curve,
        embeddings=rng.normal(0, 1, (TASKS, REPEATS, LATENT)).tolist(),
        first_episode=FirstEpisode(
            first, [float(np.mean(first)) / 20] * 20, None if ended is None else ended[0]
        ),
        successes=ended,
        effective_particles=[1000.0, 50.0, 9.0, 5.0, 3.5] if likelihood else None,
        unlike=[0.0, 0.25, 0.25, 0.25, 0.25] if likelihood else None,
        swapped=Swapped(
            (np.array(curve[2]) - ANOTHER).tolist(), None if ended is None else ended[0]
        ),
    )


def _phase(
    rng: np.random.Generator, method: Method, mean: float, success: float | None
) -> PhaseResult:
    decoder = method not in ("meta-bc", "pearl")
    encoder = _adapted(rng, mean, success, likelihood=False)
    return PhaseResult(
        encoder=encoder,
        likelihood=_adapted(rng, mean + BETTER, success, likelihood=True) if decoder else None,
        offline_returns=(-50 + rng.normal(0, 0.5, (TASKS, REPEATS))).tolist(),
        offline_embeddings=rng.normal(0, 1, (TASKS, REPEATS, LATENT)).tolist(),
        updates=100,
        steps=1000 if method in PHASE_2 else 0,
        offline_successes=None if encoder.successes is None else encoder.successes[0],
    )


def _reached(mean: float, ended: list[list[float]] | None) -> dict:
    return {
        name: Reached(np.full((TASKS, REPEATS), mean + more).tolist(), ended)
        for name, more in (("encoder", 0.0), ("likelihood", BETTER))
    }


@pytest.fixture
def make_results() -> Callable[..., Results]:
    """`make_results(before=-180, trained=-80, frozen=-160, oracle=-60, seeds=2, success=None,
    dynamics=None, methods=METHODS)`.

    By the encoder; by likelihood returns are 20 more. Points are halfway, and at the end.
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
        methods: tuple[Method, ...] = METHODS,
    ) -> Results:
        means: dict[Method, float] = {
            "offline": before,
            "trained": trained,
            "trained-encoder": trained - 4,
            "frozen": frozen,
            "frozen-oracle": frozen + 3,
            "oracle": oracle,
            "longer-offline": before + 2,
            "meta-bc": before - 9,
            "pearl": before - 20,
        }
        judged = (
            None if success is None else calibration(np.array([0.1, 0.8]), np.array([0, 1]) > 0)
        )
        seen = None if dynamics is None else DynamicsExplained(*dynamics)

        def result(method: Method, seed: int) -> JobResult:
            rng = np.random.default_rng([seed, *method.encode()])
            final = _phase(rng, method, means.get(method, before - 9), success)
            points = []
            if method in PHASE_2:
                ended = None if final.encoder.successes is None else final.encoder.successes[2]
                half = _reached((before + means[method]) / 2, ended)
                last = {name: Reached.of(adapted) for name, adapted in final.inferences}
                points = [Point(500, 50, half), Point(1000, 100, last)]
            offline = method == "offline"
            return JobResult(
                name=method,
                seed=seed,
                final=final,
                points=points,
                cpu_s=60.0,
                decoder=DecoderError(0.1, 0.97, judged, seen) if offline else None,
                random=-330.0 if offline else None,
                period_s=0.05 if offline else None,
            )

        return {method: [result(method, seed) for seed in range(seeds)] for method in methods}

    return make


@pytest.fixture
def keep() -> Callable[..., None]:
    """`keep(folder, results)` writes each job's file."""

    def write(folder, results: Results) -> None:
        for method, found in results.items():
            for result in found:
                path = Job(folder, method, result.seed).result
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(msgspec.json.encode(result))

    return write
