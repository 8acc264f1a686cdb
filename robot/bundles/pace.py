"""How long a bundle's graphs take at the size that a robot runs them at.

Times calls of `Policy`, which is what the loop calls. It must not know drivers or the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.export.differences import samples_within
from fieldtune.export.sessions import CPU
from fieldtune.robot.policy.policy import Policy

WARM_UP = 50
_PERCENTILES = (50.0, 99.0, 99.9)
_INPUTS = 64


@dataclass(frozen=True)
class Pace:
    """One thing that a robot computes: wall-clock time of a call, in microseconds."""

    what: str
    calls: int
    p50_us: float
    p99_us: float
    p999_us: float


@dataclass(frozen=True)
class Bench:
    """All of them, on which provider and over how many threads of ONNX Runtime."""

    provider: str
    threads: int
    paces: tuple[Pace, ...]


def bench(bundle: Bundle, calls: int, providers: Sequence[str] = CPU) -> Bench:
    """Time an action, a decoded reward, and one transition of the posterior, all at batch 1.

    Args:
        bundle: verified.
        calls: of each, after `WARM_UP` that are not counted.
        providers: as `Policy`.

    Raises `PolicyError`.
    """
    policy, manifest = Policy(bundle, providers), bundle.manifest
    drawn = samples_within(manifest, bundle.graphs["decoder.onnx"], _INPUTS)
    rows = {name: value.astype(np.float64) for name, value in drawn.items()}
    rng, prior = np.random.default_rng(0), policy.prior()

    def row(name: str, index: int) -> NDArray[np.float64]:
        return rows[name][index % _INPUTS]

    def act(index: int) -> object:
        return policy.act(row("observation", index), row("z", index), rng)

    def decode(index: int) -> object:
        return policy.decode(row("observation", index), row("action", index), row("z", index))

    def update(index: int) -> object:
        reward = float(row("reward", index)[0])
        states = row("observation", index), row("next_observation", index)
        return policy.update(prior, states[0], row("action", index), reward, states[1])

    known = manifest.likelihood
    by = "encoder" if known is None else f"likelihood, {len(known.particles)} particles"
    timed = (("action", act), ("decoded reward", decode), (f"posterior step ({by})", update))
    return Bench(policy.provider, 1, tuple(_time(what, call, calls) for what, call in timed))


def _time(what: str, call: Callable[[int], object], calls: int) -> Pace:
    for index in range(WARM_UP):
        call(index)
    taken = np.empty(calls)
    for index in range(calls):
        began = time.perf_counter_ns()
        call(index)
        taken[index] = (time.perf_counter_ns() - began) / 1e3
    return Pace(what, calls, *(float(value) for value in np.percentile(taken, _PERCENTILES)))
