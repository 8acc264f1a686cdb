"""Families whose tasks change the robot's own dynamics: what they share.

The task is the model itself: masses, inertias, damping and friction, scaled as in the reference's
`rand_param_envs` (Pong et al. 2022; docs/built-in-families.md). Knows no particular robot.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fieldtune.sim.family import Array, Field, TaskSplit, require_signals
from fieldtune.sim.family import width as total_width
from fieldtune.sim.locomotion.family import LocomotionFamily
from fieldtune.sim.locomotion.simulators import Body, Read, model

if TYPE_CHECKING:
    import mujoco

LARGEST = 3.0  # of an exponent
FASTEST_SHOWN = 10.0  # m/s and rad/s: observations clip there


@dataclass(frozen=True)
class Scaled:
    """Rows `first:` of a model's array, each number of which a task multiplies by base^exponent.

    The rows before, the world's and the root's, are 0 and stay so.
    """

    name: str
    array: str
    base: float
    first: int
    rows: int
    columns: int = 1

    @property
    def field(self) -> Field:
        size = self.rows * self.columns
        return Field(self.name, f"log {self.base}", (-LARGEST,) * size, (LARGEST,) * size)


class PlanarBody(Body):
    """A robot in the vertical plane, its own model in each copy; seen without its x.

    Attributes:
        scaled: what a task changes, in the order of its parameters.
    """

    substeps = 4
    timestep_s = 0.002
    signals = 1
    start_noise = 0.005
    tuned = True
    scaled: tuple[Scaled, ...]

    def observe(self, read: Read) -> Array:
        """See `Body.observe`: qpos without x, then qvel clipped to ±10."""
        velocity = np.clip(read("qvel"), -FASTEST_SHOWN, FASTEST_SHOWN)
        return np.concatenate([read("qpos")[:, 1:], velocity], axis=-1)

    def place(self, read: Read) -> Array:
        """See `Body.place`: x of the root."""
        return read("qpos")[:, :1]

    def measure(self, displacement: Array, read: Read) -> Array:  # noqa: ARG002
        """See `Body.measure`: the mean velocity over the control period."""
        return displacement / self.period_s

    def tune(self, changed: mujoco.MjModel, task: Array) -> None:
        """See `Body.tune`. As in the reference, nothing that MuJoCo derived when it compiled the
        model is derived again: that touches how soft contacts are, and no mass or inertia."""
        original, start = model(self.asset), 0
        for part in self.scaled:
            rows = slice(part.first, part.first + part.rows)
            before = getattr(original, part.array)[rows]
            exponents = task[start : start + before.size].reshape(before.shape)
            getattr(changed, part.array)[rows] = before * part.base**exponents
            start += before.size


class DynamicsFamily(LocomotionFamily):
    """Run with a body that is not known: r = v + 1 − 1e-3‖a‖², the same for every task.

    v, the displacement over the control period, is not in an observation: it is a signal. The task
    is in the transitions, so that a context must hold s'.
    """

    @property
    @abstractmethod
    def body(self) -> PlanarBody: ...

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return planar_fields(self.body.actions)

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return tuple(part.field for part in self.body.scaled)

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return (Field.unbounded("mean_forward_velocity", "m/s"),)

    @property
    def dynamics_vary(self) -> bool:
        return True

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks: exponents `(n, parameter)`, each uniform on [−3, 3]."""
        size = (n, total_width(self.task_fields))
        return np.random.default_rng(seed).uniform(-LARGEST, LARGEST, size)

    def split(self) -> TaskSplit:
        """40 training and 10 held-out bodies, fixed. The reference published none."""
        return TaskSplit.drawn(self.sample_tasks, train=40, test=10)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """See `TaskFamily.reward`.

        v + 1 − 1e-3‖a‖², `a` before any clamp; `task` only broadcasts.
        """
        del observation, next_observation
        velocity = require_signals(self.name, self.signal_fields, signals)[..., 0]
        reward = velocity + 1.0 - 1e-3 * np.sum(np.square(action), axis=-1)
        return reward + np.zeros(task.shape[:-1])


def planar_fields(joints: int) -> tuple[Field, ...]:
    """The observation of a planar robot with so many joints."""
    clipped = (FASTEST_SHOWN,)

    def velocity(name: str, unit: str, width: int) -> Field:
        return Field(name, unit, (-clipped[0],) * width, clipped * width)

    return (
        Field.unbounded("root_height", "m"),
        Field.unbounded("root_pitch", "rad"),
        Field.unbounded("joint_position", "rad", joints),
        velocity("root_velocity", "m/s", 2),
        velocity("root_pitch_velocity", "rad/s", 1),
        velocity("joint_velocity", "rad/s", joints),
    )


def scaled_parts(bodies: int, joints: int) -> tuple[Scaled, ...]:
    """What the reference scales, for a planar robot of so many bodies, one geom each, and joints.

    The floor has a friction too: of two geoms in contact the larger one counts.
    """
    return (
        Scaled("mass_exponent", "body_mass", 1.5, 1, bodies),
        Scaled("inertia_exponent", "body_inertia", 1.5, 1, bodies, 3),
        Scaled("damping_exponent", "dof_damping", 1.3, 3, joints),
        Scaled("friction_exponent", "geom_friction", 1.5, 0, bodies + 1, 3),
    )
