"""The `cheetah-vel` task family: gymnasium's HalfCheetah that must run at a hidden velocity.

Definition and tasks: Pong et al. 2022 and their released code (docs/built-in-families.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskSplit
from fieldtune.sim.locomotion.family import LocomotionFamily, published_split
from fieldtune.sim.locomotion.simulators import Body, Read

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

TORSO_HEIGHT = 0.7  # m, of the torso's frame where rootz is 0
FASTEST = 3.0  # m/s
TORSO_X = 17  # in an observation


@dataclass(frozen=True)
class CheetahVelFamily(LocomotionFamily):
    """Run forward at v*, which no observation shows: r = −|v − v*| − 0.05‖a‖²; never terminal.

    v is the torso's displacement over the control period. The observation's torso position is that
    of the *current* joint positions, so v follows from (s, s') exactly; the reference reads the
    position of one physics step earlier, from which no reward could be computed.
    """

    name = "cheetah-vel"
    robot = "half-cheetah"

    @property
    def body(self) -> Body:
        return CheetahBody()

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field.unbounded("root_height", "m"),
            Field.unbounded("root_pitch", "rad"),
            Field.unbounded("joint_position", "rad", 6),
            Field.unbounded("root_velocity", "m/s", 2),
            Field.unbounded("root_pitch_velocity", "rad/s"),
            Field.unbounded("joint_velocity", "rad/s", 6),
            Field.unbounded("torso_position", "m", 3),
        )

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (Field("velocity", "m/s", (0.0,), (FASTEST,)),)

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` velocities in m/s, `(n, 1)`, uniform on [0, 3]."""
        return np.random.default_rng(seed).uniform(0.0, FASTEST, (n, 1))

    def split(self) -> TaskSplit:
        """The reference's own 100 training and 30 held-out velocities."""
        return published_split(self.name)

    @property
    def reward_bounds(self) -> tuple[float, float]:
        return (-float("inf"), 0.0)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """See `TaskFamily.reward`.

        −|v − v*| − 0.05‖a‖², with v = Δx / 0.05 s and `a` as requested, before any clamp.
        """
        velocity = (next_observation[..., TORSO_X] - observation[..., TORSO_X]) / self.period_s
        return -np.abs(velocity - task[..., 0]) - 0.05 * np.sum(np.square(action), axis=-1)


class CheetahBody(Body):
    """gymnasium's cheetah; nothing is measured of it that is not seen, and it never falls."""

    asset = "half_cheetah.xml"
    substeps = 5
    timestep_s = 0.01
    actions = 6
    signals = 0
    start_noise = 0.1
    normal_velocities = True

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

        return HalfCheetahEnv(frame_skip=self.substeps)

    def observe(self, read: Read) -> Array:
        """See `Body.observe`: qpos without x, qvel, and the torso's position.

        The torso hangs on two slides and then a hinge at its own origin: its position is
        (rootx, 0, 0.7 + rootz), no kinematics needed.
        """
        qpos, qvel = read("qpos"), read("qvel")
        x, z = qpos[:, :1], qpos[:, 1:2]
        return np.concatenate([qpos[:, 1:], qvel, x, np.zeros_like(x), TORSO_HEIGHT + z], axis=-1)

    def place(self, read: Read) -> Array:
        """See `Body.place`: of no axis, `(env, 0)`."""
        return read("qpos")[:, :0]

    def measure(self, displacement: Array, read: Read) -> Array:  # noqa: ARG002
        """See `Body.measure`: nothing, `(env, 0)`."""
        return displacement

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """See `Body.fallen`: never."""
        return np.zeros(len(read("qpos")), dtype=np.bool_)
