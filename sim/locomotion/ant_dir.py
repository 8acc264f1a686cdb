"""The `ant-dir` task family: gymnasium's Ant that must run in a hidden direction.

Definition and tasks: Pong et al. 2022 and their released code (docs/built-in-families.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskSplit, require_signals
from fieldtune.sim.locomotion.direction import DirectionFamily, along, free_torso_fields
from fieldtune.sim.locomotion.family import published_split
from fieldtune.sim.locomotion.simulators import Body, Read

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

LOWEST, HIGHEST = 0.2, 1.0  # m, of the torso; outside it has fallen
TORSO = 1  # its body in the model


@dataclass(frozen=True)
class AntDirFamily(DirectionFamily):
    """Run along θ, which no observation shows.

    r = v · (cos θ, sin θ) − 0.5‖a‖² − 0.5e-3·Σ clip(contact force, −1, 1)² + 1; terminal where the
    torso is not between 0.2 and 1 m high. Neither v nor the contact forces are in an observation:
    both are signals.
    """

    name = "ant-dir"
    robot = "ant"

    @property
    def body(self) -> Body:
        return AntBody()

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return free_torso_fields(joints=8)

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return (
            Field.unbounded("mean_torso_velocity", "m/s", 2),
            Field("contact_effort", "squared clipped forces", (0.0,), (84.0,)),
        )

    def split(self) -> TaskSplit:
        """The reference's own 100 training and 20 held-out directions."""
        return published_split(self.name)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """See `TaskFamily.reward`.

        v · (cos θ, sin θ) − 0.5‖a‖² − 0.5e-3 · contact effort + 1, `a` before any clamp.
        """
        del observation, next_observation
        measured = require_signals(self.name, self.signal_fields, signals)
        effort = 0.5 * np.sum(np.square(action), axis=-1)
        return along(measured, task) - effort - 0.5e-3 * measured[..., 2] + 1.0


class AntBody(Body):
    """gymnasium's ant, seen as in the reference: without the contact forces."""

    asset = "ant.xml"
    substeps = 5
    timestep_s = 0.01
    actions = 8
    signals = 3
    start_noise = 0.1
    normal_velocities = True
    contact_forces = True

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.ant_v5 import AntEnv

        return AntEnv(frame_skip=self.substeps)

    def observe(self, read: Read) -> Array:
        """See `Body.observe`: qpos without x and y, then qvel."""
        return np.concatenate([read("qpos")[:, 2:], read("qvel")], axis=-1)

    def place(self, read: Read) -> Array:
        """See `Body.place`: the torso's x and y, as MuJoCo's last kinematics had them."""
        return read("xpos")[:, TORSO, :2]

    def measure(self, displacement: Array, read: Read) -> Array:
        """See `Body.measure`."""
        clipped = np.clip(read("cfrc_ext"), -1.0, 1.0).reshape(len(displacement), -1)
        effort = np.square(clipped).sum(axis=-1, keepdims=True)
        return np.concatenate([displacement / self.period_s, effort], axis=-1)

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """See `Body.fallen`."""
        height = read("qpos")[:, 2]
        finite = np.isfinite(self.observe(read)).all(axis=-1)
        return ~(finite & (height >= LOWEST) & (height <= HIGHEST))
