"""The `walker-params` task family: gymnasium's Walker2d with a body that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.locomotion.simulators import Read
from fieldtune.sim.locomotion.varying_body import DynamicsFamily, PlanarBody, scaled_parts

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

JOINTS = 6
LOWEST, HIGHEST = 0.8, 2.0  # m, of the torso; outside it has fallen
STEEPEST = 1.0  # rad, either way


@dataclass(frozen=True)
class WalkerParamsFamily(DynamicsFamily):
    """Walk forward; terminal unless the torso is 0.8 to 2 m high and leans by less than 1 rad."""

    name = "walker-params"
    robot = "walker2d"

    @property
    def body(self) -> PlanarBody:
        return WalkerBody()


class WalkerBody(PlanarBody):
    """gym's old walker, whose right foot grips less than its left: the reference's."""

    asset = "walker2d.xml"
    actions = JOINTS
    scaled = scaled_parts(bodies=7, joints=JOINTS)

    def environment(self) -> MujocoEnv:
        """See `Body.environment`."""
        from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

        return Walker2dEnv(xml_file=self.asset, frame_skip=self.substeps)

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """See `Body.fallen`."""
        height, pitch = read("qpos")[:, 1:3].T
        return ~((height > LOWEST) & (height < HIGHEST) & (np.abs(pitch) < STEEPEST))
