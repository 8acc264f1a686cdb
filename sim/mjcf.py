"""A task family from an MJCF: what a package of one's own derives from (docs/families.md).

Batched and stepped in compiled code as the built-in robots are. Knows MuJoCo's names and arrays;
no particular robot, task or reward. mujoco is imported when a model is asked for.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.drawn_tasks import DrawnTasks
from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    SingleRobot,
    width,
)
from fieldtune.sim.physics.bodies import BodyBatch, Read
from fieldtune.sim.physics.mjcf_model import Unstable, compiled, require_finite, rest
from fieldtune.sim.physics.picks import (
    Computed,
    ModelError,
    Pick,
    bodies,
    positions,
    sensors,
    sites,
    velocities,
)

if TYPE_CHECKING:
    import mujoco

__all__ = [
    "Array",
    "Computed",
    "Field",
    "MjcfFamily",
    "ModelError",
    "Read",
    "Unstable",
    "bodies",
    "positions",
    "sensors",
    "sites",
    "velocities",
]


class MjcfFamily(DrawnTasks, FamilyDefaults, ABC):
    """A `TaskFamily` on a MuJoCo model. Derive a frozen dataclass, whose fields are its options.

    Whatever a family says here as a value it may also say as a property, where an option decides.

    Attributes:
        name: as in the entry point.
        robot: the model's name, the same on the real one.
        mjcf: the model, as text or as the absolute path of its file.
        substeps: physics steps in a control period.
        horizon: control periods in an episode.
        observed: what an observation is made of, in order.
        action_fields: what a policy decides; bounds finite.
        task_fields: what a task's parameters are.
        measured: what `reward` needs besides, as its `signals`.
        action_scale: of an action, to what actuators are told; one for all or one each.
        start_noise: how far a start is from rest, uniform, in all positions and velocities.
        keyframe: the model's, in which rest is; its default state where None.
        camera: the model's, for pictures; one that sees all of the model where None.
        contact_forces: whether `cfrc_ext` is read, which MuJoCo computes when asked alone.
    """

    robot: ClassVar[str]
    substeps: ClassVar[int]
    horizon: ClassVar[int]
    observed: ClassVar[tuple[Pick, ...]]
    action_fields: ClassVar[tuple[Field, ...]]
    measured: ClassVar[tuple[Pick, ...]] = ()
    action_scale: ClassVar[float | tuple[float, ...]] = 1.0
    start_noise: ClassVar[float] = 0.0
    keyframe: ClassVar[str | None] = None
    camera: ClassVar[str | None] = None
    contact_forces: ClassVar[bool] = False

    @property
    @abstractmethod
    def mjcf(self) -> str | Path: ...

    @abstractmethod
    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """See `TaskFamily.reward`: leading dimensions broadcast, the last is the feature."""

    def controls(self, actions: Array, read: Read) -> Array:  # noqa: ARG002
        """What actuators are told, `(env, actuator)`, for actions `(env, action)`, held for one
        control period. Where an action moves a target, `read` says where the joints are."""
        return actions * np.asarray(self.action_scale)

    def terminal(self, read: Read) -> NDArray[np.bool_]:
        """Whether an episode ends in the state that each copy is in, `(env,)`; never."""
        return np.zeros(len(read("qpos")), dtype=np.bool_)

    def start(self, seed: int, task: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """`qpos` and `qvel` that an episode starts from; nothing but the arguments decides."""
        qpos, qvel = rest(self.name, self.model(), self.keyframe)
        rng, most = np.random.default_rng(seed), self.start_noise
        noise = rng.uniform(-most, most, len(qpos)), rng.uniform(-most, most, len(qvel))
        return qpos + noise[0], qvel + noise[1]

    def tune(self, model: mujoco.MjModel, task: Array) -> None:
        """Write the dynamics of `task` into one copy's `model`, over what another task wrote there.
        Asked where `dynamics_vary`."""

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return tuple(pick.field for pick in self.observed)

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return tuple(pick.field for pick in self.measured)

    @property
    def period_s(self) -> float:
        return self.substeps * float(self.model().opt.timestep)

    def model(self) -> mujoco.MjModel:
        """The compiled model. Shared: nothing may write to it. Raises `ModelError`."""
        return compiled(self.name, self.mjcf)

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """See `TaskFamily.simulator`: the same to the bit, whatever the batch and the threads."""
        return BodyBatch(_MjcfBody(self), n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One robot, stepped by MuJoCo's own Python."""
        return _MjcfRobot(self)


class _MjcfBody:
    """A `fieldtune.sim.physics.bodies.Body` of what a family says."""

    def __init__(self, family: MjcfFamily) -> None:
        self._family = family
        self.substeps, self.contact_forces = family.substeps, family.contact_forces
        self.tuned, self.signals = family.dynamics_vary, width(family.signal_fields)
        model = family.model()
        try:
            self._observed = [pick.of(model) for pick in family.observed]
            self._measured = [pick.of(model) for pick in family.measured]
        except ModelError as error:
            raise ModelError(f"{family.name}: {error}") from error
        scale, actions = np.shape(family.action_scale), width(family.action_fields)
        if scale not in ((), (actions,)):
            raise ModelError(
                f"{family.name}: action_scale has {scale[0]} numbers for {actions} components of "
                "an action: expected one, or one each"
            )
        self.tune, self.start, self.fallen = family.tune, family.start, family.terminal
        self.shared_model = family.model
        self._actuators = int(model.nu)

    def controls(self, actions: Array, read: Read) -> Array:
        told = np.asarray(self._family.controls(actions, read), dtype=np.float64)
        if told.shape != (len(actions), self._actuators):
            raise ModelError(
                f"{self._family.name}: controls are {list(told.shape)} for {len(actions)} copies "
                f"and {self._actuators} actuators: as many action components as actuators, or a "
                "`controls` of your own"
            )
        return told

    def observe(self, read: Read) -> Array:
        seen = np.concatenate([pick(read) for pick in self._observed], axis=-1)
        return require_finite(self._family.name, np.ascontiguousarray(seen))

    def place(self, read: Read) -> Array:
        return read("qpos")[:, :0]

    def measure(self, displacement: Array, read: Read) -> Array:
        return np.concatenate([displacement, *(pick(read) for pick in self._measured)], axis=-1)


class _MjcfRobot:
    """A `SingleRobot`."""

    def __init__(self, family: MjcfFamily) -> None:
        import mujoco

        from fieldtune.sim.physics.rendering import Renderer

        self._body, self._actions = _MjcfBody(family), width(family.action_fields)
        self._model = copy.copy(family.model())
        self._data = mujoco.MjData(self._model)
        self._signals = np.zeros(self._body.signals)
        self._renderer = Renderer(self._model, self._data, family.camera)

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`."""
        import mujoco

        if self._body.tuned:
            self._body.tune(self._model, task)
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:], self._data.qvel[:] = self._body.start(seed, task)
        mujoco.mj_forward(self._model, self._data)
        self._signals = np.zeros_like(self._signals)
        return self._body.observe(self._read)[0]

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`."""
        import mujoco

        if np.shape(action) != (self._actions,) or not np.isfinite(action).all():
            raise ValueError(f"step: action is {action}, expected {self._actions} finite numbers")
        told = np.asarray(action, dtype=np.float64)[None]
        self._data.ctrl[:] = self._body.controls(told, self._read)[0]
        mujoco.mj_step(self._model, self._data, self._body.substeps)
        if self._body.contact_forces:
            mujoco.mj_rnePostConstraint(self._model, self._data)
        self._signals = self._body.measure(self._body.place(self._read), self._read)[0]
        return self._body.observe(self._read)[0], bool(self._body.fallen(self._read)[0])

    def signals(self) -> Array:
        """See `SingleRobot.signals`."""
        return self._signals

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`."""
        return self._renderer.picture(width, height)

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._renderer.close()

    def _read(self, name: str) -> Array:
        return np.array(getattr(self._data, name))[None]
