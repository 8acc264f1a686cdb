"""EnvPool in an environment of its own, since its pins are not ours: asked over a pipe.

Needs numpy and envpool, nothing of Fieldtune. One JSON request a line on stdin, one answer each on
stdout: {"make": {...}}, {"trace": actions}, {"rate": seconds}.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import envpool  # type: ignore[import-not-found]
import numpy as np


class Pool:
    """One EnvPool and the actions it is stepped with."""

    def __init__(
        self, name: str, copies: int, threads: int, steps: int, amplitude: float, options: Any
    ) -> None:
        self._pool = envpool.make(
            name, "gymnasium", num_envs=copies, num_threads=threads, seed=0, **options
        )
        space = self._pool.action_space
        low, high = amplitude * space.low, amplitude * space.high
        rng = np.random.default_rng(0)
        self._actions = rng.uniform(low, high, (steps, copies, *space.shape))

    def trace(self, actions: list[Any]) -> dict[str, Any]:
        """Observations from a reset on: `(step + 1, copy, observation)`."""
        seen = [self._pool.reset()[0]]
        for action in np.array(actions):
            seen.append(self._pool.step(action)[0])
        return {"observations": np.array(seen).tolist()}

    def rate(self, seconds: float) -> dict[str, float]:
        """Steps a second over episodes' beginnings; resets are not counted."""
        count, elapsed = 0, 0.0
        while elapsed < seconds:
            self._pool.reset()
            started = time.perf_counter()
            for action in self._actions:
                self._pool.step(action)
            elapsed += time.perf_counter() - started
            count += self._actions.shape[0] * self._actions.shape[1]
        return {"rate": count / elapsed}


def main() -> None:
    pool: Pool | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if "make" in request:
            pool = Pool(**request["make"])
            answer: dict[str, Any] = {"version": envpool.__version__}
        elif pool is None:
            answer = {"error": "make a pool first"}
        elif "trace" in request:
            answer = pool.trace(request["trace"])
        else:
            answer = pool.rate(request["rate"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
