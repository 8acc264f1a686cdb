"""The `humanoid-dir` task family: gymnasium's Humanoid that must walk in a hidden direction.

Definition: Pong et al. 2022 and their released code (docs/built-in-families.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskSplit, require_signals
from fieldtune.sim.locomotion.direction import DirectionFamily, along, free_torso_fields
from fieldtune.sim.locomotion.simulators import Body, Read, model

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

TIMESTEP_S = 0.003  # of the physics
LOWEST, HIGHEST = 1.0, 2.0  # m, of the torso; outside it has fallen
BODIES = 14  # the world's among them


@dataclass(frozen=True)
class HumanoidDirFamily(DirectionFamily):
    """Walk along θ, which no observation shows.

    r = 0.25 · Δcom · (cos θ, sin θ) / 0.003 s − 0.1‖a‖² − min(0.5e-6·Σ contact force², 10) + 5;
    terminal where the torso is not between 1 and 2 m high. The contact forces are in s'; how far
    the centre of mass came is not: it is a signal.
    """

    name = "humanoid-dir"
    robot = "humanoid"

    @property
    def body(self) -> Body:
        return HumanoidBody()

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            *free_torso_fields(joints=17),
            Field.unbounded("body_inertia", "6 × kg m², 3 × kg m, kg", 10 * BODIES),
            Field.unbounded("body_velocity", "3 × rad/s, 3 × m/s", 6 * BODIES),
            Field.unbounded("actuator_force", "N m", 23),
            Field.unbounded("contact_force", "3 × N m, 3 × N", 6 * BODIES),
        )

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return (Field.unbounded("centre_of_mass_displacement", "m", 2),)

    def split(self) -> TaskSplit:
        """100 training and 30 held-out directions, fixed. The reference published none."""
        return TaskSplit.drawn(self.sample_tasks, train=100, test=30)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """See `TaskFamily.reward`.

        0.25 Δcom · (cos θ, sin θ) / 0.003 s − 0.1‖a‖² − impact + 5, `a` before any clamp.
        """
        del observation
        moved = require_signals(self.name, self.signal_fields, signals)
        effort = 0.1 * np.sum(np.square(action), axis=-1)
        forces = next_observation[..., -6 * BODIES :]
        impact = np.minimum(0.5e-6 * np.sum(np.square(forces), axis=-1), 10.0)
        return 0.25 * along(moved, task) / TIMESTEP_S - effort - impact + 5.0


class HumanoidBody(Body):
    """gymnasium's humanoid, seen as its version 2 showed it: the world's body included."""

    asset = "humanoid.xml"
    substeps = 5
    timestep_s = TIMESTEP_S
    actions = 17
    strongest = 0.4
    signals = 2
    start_noise = 0.01
    contact_forces = True

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv

        return HumanoidEnv(frame_skip=self.substeps)

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
