"""Control periods a second with MuJoCo's constraint islands and without, family by family.

`python -m benchmarks.islands [--quick]`. The simulators' own steps, one thread, the same random
actions on both sides from the same states, back to back; who falls goes on. Says too how far apart
the states are at the end of an episode; 0 is equality to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mujoco
import numpy as np

from benchmarks.alone import main
from benchmarks.figures import Series, Table
from benchmarks.turns import Effort, in_turns
from fieldtune.sim.family import Array, bounds
from fieldtune.sim.registry import family, names

COPIES = 4
WITH, WITHOUT = "with islands", "without"


class Side:
    """A family's simulator with islands switched on or off."""

    def __init__(self, name: str, islands: bool) -> None:
        self._family, self._islands = family(name), islands
        simulator: Any = self._family.simulator(COPIES)
        self._simulator = simulator
        self._data = simulator._batch.data if hasattr(simulator, "_batch") else simulator._data
        low, high = bounds(self._family.action_fields)
        rng = np.random.default_rng(0)
        self._actions = rng.uniform(low, high, (self._family.horizon, COPIES, len(low)))
        self._tasks = self._family.sample_tasks(0, COPIES)

    @property
    def default(self) -> bool:
        """Whether the family simulates with islands, before any `episode`."""
        bit = int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
        return not self._data[0].model.opt.disableflags & bit

    def episode(self) -> float:
        """Control periods a second of processor time, over an episode of random actions."""
        bit = int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
        for data in self._data:  # both sides share a model
            flags = data.model.opt.disableflags
            data.model.opt.disableflags = flags & ~bit if self._islands else flags | bit
        self._simulator.reset(np.arange(COPIES), self._tasks)
        started = time.thread_time()
        for action in self._actions:
            if hasattr(self._simulator, "_moving"):
                self._simulator._moving[:] = True
            self._simulator.step(action)
        return COPIES * len(self._actions) / (time.thread_time() - started)

    def state(self) -> Array:
        """Positions and velocities now, `(copy, number)`."""
        return np.array([np.append(data.qpos, data.qvel) for data in self._data])

    def close(self) -> None:
        self._simulator.close()


def has_mujoco(name: str) -> bool:
    """Whether MuJoCo steps the family: whether its simulator keeps what MuJoCo steps."""
    simulator: Any = family(name).simulator(1)
    try:
        return hasattr(simulator, "_batch") or hasattr(simulator, "_data")
    finally:
        simulator.close()


def measure(effort: Effort) -> Iterator[Table]:
    """A table for each family."""
    for name in filter(has_mujoco, names()):
        sides = {WITH: Side(name, True), WITHOUT: Side(name, False)}
        ours = WITH if sides[WITH].default else WITHOUT
        runs: dict[str, Callable[[], float]] = {k: side.episode for k, side in sides.items()}
        values = in_turns(runs, effort.rounds)
        apart = float(np.abs(sides[WITH].state() - sides[WITHOUT].state()).max())
        for side in sides.values():
            side.close()
        yield Table(
            title=f"{name}, with islands and without",
            unit="control periods/s of processor time",
            conditions=f"{COPIES} copies, an episode of random actions a round and side; 1 thread",
            series=[
                Series(label, "ours" if label == ours else "theirs", values[label])
                for label in sides
            ],
            checks=[f"states at the end of the episode are {apart:g} apart"],
        )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
