"""What gymnasium's robots are made of, and one kind of single robot for all of them.

A `Body` says what differs between robots. Knows nothing of rewards. mujoco and gymnasium are
imported only when something is simulated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.physics.bodies import Read

if TYPE_CHECKING:
    import mujoco
    from gymnasium.envs.mujoco import MujocoEnv


class Body(ABC):
    """A `fieldtune.sim.physics.bodies.Body` on one of gymnasium's models.

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

    def shared_model(self) -> mujoco.MjModel:
        """See `fieldtune.sim.physics.bodies.Body`."""
        return model(self.asset)

    def controls(self, actions: Array, read: Read) -> Array:  # noqa: ARG002
        """The torques, as they are asked for; MuJoCo clamps them."""
        return actions

    def start(self, seed: int, task: Array) -> tuple[Array, Array]:  # noqa: ARG002
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
        self._environment.set_state(*self._body.start(seed, task))
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
