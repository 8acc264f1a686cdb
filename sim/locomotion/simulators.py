"""One kind of batch and of single robot for every locomotion family on gymnasium's models.

A `Body` says what differs between robots. Knows nothing of rewards. mujoco and gymnasium are
imported only when something is simulated.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array

if TYPE_CHECKING:
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv

Read = Callable[[str], Array]
"""Name of one of `MjData`'s arrays to its value in every copy, `(env, ...)`."""


class Body(ABC):
    """What a robot is made of, how it starts, what is seen and measured of it, when it has fallen.

    Attributes:
        asset: the model's file among gymnasium's.
        substeps: physics steps in a control period.
        timestep_s: the model's physics step, in seconds.
        actions: width of an action.
        strongest: the largest component of an action, either way.
        signals: numbers measured over a control period.
        start_noise: how far a start is from the model's rest, in all positions and velocities.
        normal_velocities: whether velocities are drawn from a normal distribution, as gymnasium
            does for some robots, and not uniformly.
        contact_forces: whether anything reads `cfrc_ext`.
        tuned: whether a task changes the model, so that every copy needs one of its own.
    """

    asset: str
    substeps: int
    timestep_s: float
    actions: int
    signals: int
    start_noise: float
    normal_velocities: bool = False
    strongest: float = 1.0
    contact_forces: bool = False
    tuned: bool = False

    @abstractmethod
    def environment(self) -> MujocoEnv:
        """gymnasium's own environment with this body."""

    @abstractmethod
    def observe(self, read: Read) -> Array:
        """Observations `(env, observation)`."""

    @abstractmethod
    def place(self, read: Read) -> Array:
        """Where it is along what a displacement is measured of, `(env, axis)`."""

    @abstractmethod
    def measure(self, displacement: Array, read: Read) -> Array:
        """Signals `(env, signal)` of a step that changed its place by `(env, axis)`."""

    @abstractmethod
    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """Whether each copy is in a terminal state, `(env,)`."""

    def tune(self, changed: mujoco.MjModel, task: Array) -> None:
        """Give `changed` the dynamics of `task`, whatever it had before."""
        del changed, task  # as long as tasks share their dynamics

    def start(self, seed: int) -> tuple[Array, Array]:
        """`qpos` and `qvel` that an episode starts from; `seed` alone decides."""
        rest, nv = model(self.asset).qpos0, int(model(self.asset).nv)
        rng, most = np.random.default_rng(seed), self.start_noise
        position = rest + rng.uniform(-most, most, len(rest))
        if self.normal_velocities:
            return position, most * rng.standard_normal(nv)
        return position, rng.uniform(-most, most, nv)

    @property
    def period_s(self) -> float:
        return self.substeps * self.timestep_s


@cache
def model(asset: str) -> mujoco.MjModel:
    """gymnasium's model in the file `asset`, islands left out. Shared: nothing may write to it."""
    import mujoco

    from fieldtune.sim.physics.islands import leave_out_islands

    xml = files("gymnasium") / "envs" / "mujoco" / "assets" / asset
    found = mujoco.MjModel.from_xml_string(xml.read_text())
    leave_out_islands(found)
    return found


class LocomotionBatch:
    """A `BatchSimulator` of `n_envs` bodies; bit-identical to gymnasium's, one stepped by one."""

    def __init__(self, body: Body, n_envs: int, threads: int = 1) -> None:
        from fieldtune.sim.physics.batch import MujocoBatch

        self.n_envs = n_envs
        self._body = body
        shared = model(body.asset)
        self._models = [copy.copy(shared) if body.tuned else shared for _ in range(n_envs)]
        self._batch = MujocoBatch(
            self._models, body.substeps, threads, contact_forces=body.contact_forces
        )
        self._moving = np.ones(n_envs, dtype=np.bool_)
        self._signals = np.zeros((n_envs, body.signals))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} copies: "
                "give one of each a copy"
            )
        if self._body.tuned:
            for own, task in zip(self._models, tasks, strict=True):
                self._body.tune(own, task)
        states = [self._body.start(int(seed)) for seed in seeds]
        self._batch.set(np.array([qpos for qpos, _ in states]), np.array([v for _, v in states]))
        self._moving[:] = True
        self._signals = np.zeros_like(self._signals)
        return self._body.observe(self._batch.read)

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`. MuJoCo clamps `actions` `(env, action)` to their range."""
        read = self._batch.read
        before = self._body.place(read)
        self._batch.step(np.asarray(actions, dtype=np.float64), self._moving)
        self._signals = self._body.measure(self._body.place(read) - before, read)
        self._moving &= ~self._body.fallen(read)
        return self._body.observe(read), ~self._moving

    def signals(self) -> Array:
        """See `BatchSimulator.signals`."""
        return self._signals

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._batch.close()


class LocomotionRobot:
    """A `SingleRobot`: one body in gymnasium's own environment, stepped by its own `step`."""

    def __init__(self, body: Body) -> None:
        from fieldtune.sim.physics.rendering import Renderer, View

        self._body = body
        self._environment: Any = body.environment()
        self._data = self._environment.data
        self._signals = np.zeros(body.signals)
        view = View((0.0, 0.0, 0.0), distance=4.0, azimuth=90.0, elevation=-15.0, track="torso")
        self._renderer = Renderer(self._environment.model, self._data, view)

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`."""
        import mujoco

        if self._body.tuned:
            self._body.tune(self._environment.model, task)
        mujoco.mj_resetData(self._environment.model, self._data)
        self._environment.set_state(*self._body.start(seed))
        self._signals = np.zeros_like(self._signals)
        return self._body.observe(self._read)[0]

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`. `action` `(action,)`."""
        if np.shape(action) != (self._body.actions,) or not np.isfinite(action).all():
            raise ValueError(
                f"step: action is {action}, expected {self._body.actions} finite numbers"
            )
        before = self._body.place(self._read)
        self._environment.step(np.asarray(action, dtype=np.float64))
        self._signals = self._body.measure(self._body.place(self._read) - before, self._read)[0]
        return self._body.observe(self._read)[0], bool(self._body.fallen(self._read)[0])

    def signals(self) -> Array:
        """See `SingleRobot.signals`."""
        return self._signals

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`. The camera follows the torso."""
        return self._renderer.picture(width, height)

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._renderer.close()
        self._environment.close()

    def _read(self, name: str) -> Array:
        return np.array(getattr(self._data, name))[None]
