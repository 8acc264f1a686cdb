"""The `humanoid-dir` task family: gymnasium's Humanoid that must walk in a hidden direction.

Definition: Pong et al. 2022 and their released code (ALGORITHM.md). mujoco and gymnasium are
imported only when a simulator or the single robot is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    Field,
    SingleRobot,
    TaskSplit,
    require_signals,
)
from fieldtune.sim.locomotion.simulators import Body, LocomotionBatch, LocomotionRobot, Read, model

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

TIMESTEP_S = 0.003  # of the physics
SUBSTEPS = 5
START_NOISE = 0.01
LOWEST, HIGHEST = 1.0, 2.0  # m, of the torso; outside it has fallen
TURN = 360.0  # degrees
STRONGEST = 0.4  # of an action
BODIES = 14  # the world's among them
TRAIN_TASKS, TEST_TASKS, SPLIT_SEED = 100, 30, 20220717


@dataclass(frozen=True)
class HumanoidDirFamily:
    """Walk along θ, which no observation shows.

    r = 0.25 · Δcom · (cos θ, sin θ) / 0.003 s − 0.1‖a‖² − min(0.5e-6·Σ contact force², 10) + 5;
    terminal where the torso is not between 1 and 2 m high. The contact forces are in s'; how far
    the centre of mass came is not: it is a signal.
    """

    @property
    def name(self) -> str:
        return "humanoid-dir"

    @property
    def robot(self) -> str:
        return "humanoid"

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field.unbounded("torso_height", "m"),
            Field.unbounded("torso_orientation", "quaternion", 4),
            Field.unbounded("joint_position", "rad", 17),
            Field.unbounded("torso_velocity", "m/s", 3),
            Field.unbounded("torso_angular_velocity", "rad/s", 3),
            Field.unbounded("joint_velocity", "rad/s", 17),
            Field.unbounded("body_inertia", "6 × kg m², 3 × kg m, kg", 10 * BODIES),
            Field.unbounded("body_velocity", "3 × rad/s, 3 × m/s", 6 * BODIES),
            Field.unbounded("actuator_force", "N m", 23),
            Field.unbounded("contact_force", "3 × N m, 3 × N", 6 * BODIES),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("joint_torque", "normalised", (-STRONGEST,) * 17, (STRONGEST,) * 17),)

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (Field("direction", "degrees", (0.0,), (TURN,)),)

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return (Field.unbounded("centre_of_mass_displacement", "m", 2),)

    @property
    def dynamics_vary(self) -> bool:
        return False

    @property
    def sparse_reward(self) -> bool:
        return False

    @property
    def horizon(self) -> int:
        return 200

    @property
    def period_s(self) -> float:
        return SUBSTEPS * TIMESTEP_S

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` directions in degrees, `(n, 1)`, uniform on a full turn."""
        return np.random.default_rng(seed).uniform(0.0, TURN, (n, 1))

    def split(self) -> TaskSplit:
        """100 training and 30 held-out directions, fixed. The reference published none."""
        tasks = self.sample_tasks(SPLIT_SEED, TRAIN_TASKS + TEST_TASKS)
        return TaskSplit(train=tasks[:TRAIN_TASKS], test=tasks[TRAIN_TASKS:])

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """0.25 Δcom · (cos θ, sin θ) / 0.003 s − 0.1‖a‖² − impact + 5, `a` before any clamp."""
        del observation
        moved = require_signals(self.name, self.signal_fields, signals)
        angle = np.deg2rad(task[..., 0])
        forward = moved[..., 0] * np.cos(angle) + moved[..., 1] * np.sin(angle)
        effort = 0.1 * np.sum(np.square(action), axis=-1)
        forces = next_observation[..., -6 * BODIES :]
        impact = np.minimum(0.5e-6 * np.sum(np.square(forces), axis=-1), 10.0)
        return 0.25 * forward / TIMESTEP_S - effort - impact + 5.0

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """`n_envs` humanoids; bit-identical to gymnasium's, whatever the batch and the threads."""
        return LocomotionBatch(HumanoidBody(), n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One humanoid in gymnasium's own environment."""
        return LocomotionRobot(HumanoidBody())


class HumanoidBody(Body):
    """gymnasium's humanoid, seen as its version 2 showed it: the world's body included."""

    asset = "humanoid.xml"
    substeps = SUBSTEPS
    actions = 17
    signals = 2
    contact_forces = True

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv

        return HumanoidEnv(frame_skip=self.substeps)

    def noise(self, rng: np.random.Generator, nq: int, nv: int) -> tuple[Array, Array]:
        """See `Body.noise`; gymnasium's."""
        position = rng.uniform(-START_NOISE, START_NOISE, nq)
        return position, rng.uniform(-START_NOISE, START_NOISE, nv)

    def observe(self, read: Read) -> Array:
        """See `Body.observe`: qpos without x and y, qvel, cinert, cvel, qfrc_actuator, cfrc_ext."""
        parts = [read("qpos")[:, 2:]]
        parts += [read(name) for name in ("qvel", "cinert", "cvel", "qfrc_actuator", "cfrc_ext")]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=-1)

    def place(self, read: Read) -> Array:
        """See `Body.place`: the centre of mass, as MuJoCo's last kinematics had it."""
        mass = model(self.asset).body_mass
        return (mass[:, None] * read("xipos")).sum(axis=1)[:, :2] / mass.sum()

    def measure(self, displacement: Array, read: Read) -> Array:  # noqa: ARG002
        """See `Body.measure`."""
        return displacement

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """See `Body.fallen`."""
        height = read("qpos")[:, 2]
        return ~((height >= LOWEST) & (height <= HIGHEST))
