"""The sides of the locomotion benchmarks: each is reset, and then stepped with the same actions.

`same_as_...` compare the states that they end in. EnvPool is in `benchmarks.pool`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from benchmarks.bare_physics import BarePhysics
from benchmarks.pool import EnvPool
from fieldtune.sim.family import Array, TaskFamily, bounds


@dataclass(frozen=True)
class Row:
    """One family, and the same physics at gymnasium and EnvPool.

    `steps` are control steps from a reset, with actions of `amplitude` times their range.
    """

    family: str
    environment: str
    substeps: int
    steps: int
    amplitude: float
    contact_forces: bool = False
    falls: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What gymnasium and EnvPool are told, so that nobody is reset in the timed stretch."""
        return {"terminate_when_unhealthy": False} if self.falls else {}


class Stepped(Protocol):
    """What can be timed."""

    def reset(self) -> None: ...

    def run(self) -> None: ...


class Ours:
    """This project's batch."""

    def __init__(self, one: TaskFamily, copies: int, threads: int, actions: Array) -> None:
        self._simulator = one.simulator(copies, threads)
        self._seeds, self._tasks = np.arange(copies), one.sample_tasks(0, copies)
        self._actions = actions
        self.reset()

    @property
    def data(self) -> list[mujoco.MjData]:
        """Every copy's physics."""
        data: list[mujoco.MjData] = self._simulator._batch.data  # type: ignore[attr-defined]
        return data

    def reset(self) -> None:
        self._simulator.reset(self._seeds, self._tasks)

    def run(self) -> None:
        for action in self._actions:
            _, done = self._simulator.step(action)
        if done.any():
            raise AssertionError(f"{done.sum()} copies fell: shorten the stretch that is timed")

    def close(self) -> None:
        self._simulator.close()


class Bare:
    """The C loop, from the states that our reset gives."""

    def __init__(self, row: Row, ours: Ours, threads: int, actions: Array) -> None:
        ours.reset()
        model = ours.data[0].model
        self._physics = BarePhysics(
            model, len(ours.data), row.substeps, contact_forces=row.contact_forces
        )
        low, high = model.actuator_ctrlrange.T
        self._controls = np.ascontiguousarray(np.clip(actions, low, high))
        self._starts = [(data.qpos.copy(), data.qvel.copy()) for data in ours.data]
        self._threads = threads

    @property
    def data(self) -> list[mujoco.MjData]:
        return self._physics.data

    def reset(self) -> None:
        model = self._physics.model
        for data, (qpos, qvel) in zip(self.data, self._starts, strict=True):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = qpos, qvel
            mujoco.mj_forward(model, data)

    def run(self) -> None:
        self._physics.run(self._controls, self._threads)


class Gymnasium:
    """gymnasium's own vector environment, as `make_vec` makes it."""

    def __init__(self, row: Row, copies: int, mode: str, actions: Array) -> None:
        self.environments: Any = gymnasium.make_vec(
            row.environment, copies, vectorization_mode=mode, **row.options
        )
        self._actions = actions[:, :copies]

    def reset(self) -> None:
        self.environments.reset(seed=0)

    def run(self) -> None:
        for action in self._actions:
            self.environments.step(action)

    def states(self) -> NDArray[np.float64]:
        """`qpos` of every copy; of the synchronous one only."""
        return np.array([one.unwrapped.data.qpos for one in self.environments.envs])

    def put(self, starts: list[tuple[Array, Array]]) -> None:
        """Reset, then set these states."""
        self.reset()
        for one, (qpos, qvel) in zip(self.environments.envs, starts, strict=True):
            one.unwrapped.set_state(qpos, qvel)

    def close(self) -> None:
        self.environments.close()


def timed(side: Stepped, count: int, seconds: float) -> float:
    """Steps a second of `side.run`, which makes `count`; its resets are not counted."""
    done, elapsed = 0, 0.0
    while elapsed < seconds:
        side.reset()
        started = time.perf_counter()
        side.run()
        elapsed += time.perf_counter() - started
        done += count
    return done / elapsed


def drawn_actions(row: Row, one: TaskFamily, copies: int) -> Array:
    """`(step, copy, action)`, uniform."""
    low, high = bounds(one.action_fields)
    rng = np.random.default_rng(0)
    return row.amplitude * rng.uniform(low, high, (row.steps, copies, len(low)))


def same_as_gymnasium(ours: Ours, theirs: Gymnasium) -> str:
    """Raises `AssertionError` unless both end in the same states, to the last bit."""
    ours.reset()
    theirs.put([(data.qpos.copy(), data.qvel.copy()) for data in ours.data])
    ours.run()
    theirs.run()
    if not np.array_equal([data.qpos for data in ours.data], theirs.states()):
        raise AssertionError("our states are not gymnasium's")
    return "the joint positions of every copy at the end are gymnasium's, to the last bit"


def same_as_bare(ours: Ours, bare: Bare) -> str:
    """Raises `AssertionError` unless both end in the same states, to the last bit."""
    for side in (ours, bare):
        side.reset()
        side.run()
    pairs = zip(ours.data, bare.data, strict=True)
    if not all(np.array_equal(a.qpos, b.qpos) for a, b in pairs):
        raise AssertionError("our states are not those of bare mj_step")
    return "they are those of bare mj_step too, to the last bit"


def same_as_envpool(row: Row, one: TaskFamily, threads: int, steps: int = 5) -> str:
    """How far EnvPool's own states are from ours; raises `AssertionError` beyond 1e-3.

    EnvPool brings a MuJoCo of its own and cannot be set to a state, so ours is set to its start.
    """
    copies = 2
    actions = drawn_actions(row, one, copies)[:steps]
    shown = {"exclude_current_positions_from_observation": False}
    with EnvPool(
        row.environment, copies, threads, steps, row.amplitude, **row.options, **shown
    ) as pool:
        observed, version = np.array(pool.trace(actions.tolist())), pool.version
    ours = Ours(one, copies, 1, actions)
    nq, nv = ours.data[0].model.nq, ours.data[0].model.nv
    for data, start in zip(ours.data, observed[0], strict=True):
        mujoco.mj_resetData(data.model, data)
        data.qpos[:], data.qvel[:] = start[:nq], start[nq : nq + nv]
        mujoco.mj_forward(data.model, data)
    ours.run()
    ended = np.array([data.qpos for data in ours.data])
    ours.close()
    apart = float(np.abs(ended - observed[-1][:, :nq]).max())
    if not apart < 1e-3:
        raise AssertionError(f"EnvPool's joint positions are {apart:g} from ours: other physics")
    return (
        f"EnvPool {version} from the same start is {apart:.1g} away after {steps} control steps "
        "(its MuJoCo is its own)"
    )
