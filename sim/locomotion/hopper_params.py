"""The `hopper-params` task family: gymnasium's Hopper with a body that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.locomotion.simulators import Read
from fieldtune.sim.locomotion.varying_body import DynamicsFamily, PlanarBody, scaled_parts

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

JOINTS = 3
LOWEST = 0.7  # m, of the torso; below it has fallen
STEEPEST = 0.2  # rad, either way
WILDEST = 100.0  # of any other position or velocity


@dataclass(frozen=True)
class HopperParamsFamily(DynamicsFamily):
    """Hop forward; terminal unless the torso is above 0.7 m and leans by less than 0.2 rad."""

    name = "hopper-params"
    robot = "hopper"

    @property
    def body(self) -> PlanarBody:
        return HopperBody()


class HopperBody(PlanarBody):
    """gymnasium's hopper."""

    asset = "hopper.xml"
    actions = JOINTS
    scaled = scaled_parts(bodies=4, joints=JOINTS)

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

        return HopperEnv(xml_file=self.asset, frame_skip=self.substeps)

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """See `Body.fallen`."""
        state = np.concatenate([read("qpos"), read("qvel")], axis=-1)
        height, pitch = state[:, 1:3].T
        tame = np.isfinite(state).all(axis=-1) & (np.abs(state[:, 2:]) < WILDEST).all(axis=-1)
        return ~(tame & (height > LOWEST) & (np.abs(pitch) < STEEPEST))
