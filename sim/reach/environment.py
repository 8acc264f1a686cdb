"""`Reach`: a robosuite environment with an arm over an empty table and a hidden target.

The truth that the fast simulator is held to. It knows nothing of batches or learning.
Importing this module imports robosuite.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections import OrderedDict
from typing import Any

import numpy as np

# robosuite asks for a private macro file on import, and says more at each make: neither is news.
logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)

import mujoco  # noqa: E402
from robosuite.controllers import load_composite_controller_config  # noqa: E402
from robosuite.environments.manipulation.manipulation_env import ManipulationEnv  # noqa: E402
from robosuite.models.arenas import TableArena  # noqa: E402
from robosuite.models.tasks import ManipulationTask  # noqa: E402

from sim.family import Array  # noqa: E402
from sim.reach.arms import Arm  # noqa: E402
from sim.reach.start import start_joints  # noqa: E402

CONTROL_HZ = 20
ACTION_LIMIT = 0.05  # m in a control period: OSC_POSITION's output range
TABLE_OFFSET = (0.0, 0.0, 0.8)
TABLE_SIZE = (0.8, 0.8, 0.05)
TARGET_SITE = "target"


def controller_config(arm: Arm) -> dict[str, Any]:
    """The arm's default controller and gains, for position control instead of pose."""
    config = load_composite_controller_config(robot=arm.robosuite_name)
    part = config["body_parts"]["right"]
    part["type"] = "OSC_POSITION"
    part["output_min"], part["output_max"] = [-ACTION_LIMIT] * 3, [ACTION_LIMIT] * 3
    return config


class Reach(ManipulationEnv):
    """Move the end effector to a target that no observation shows.

    robosuite's action has four components: displacement / 0.05 m in the base frame, and the
    gripper, which is left at 0: it holds its middle opening.
    """

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self.target = np.zeros(3)
        self.start_seed = 0
        super().__init__(
            robots=arm.robosuite_name,
            controller_configs=controller_config(arm),
            initialization_noise=None,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
            control_freq=CONTROL_HZ,
            ignore_done=True,
            hard_reset=False,
            renderer="mujoco",
        )

    def start(self, seed: int, target: Array) -> Array:
        """Reset to the start state of `seed` with `target` `(3,)` in the base frame, in metres."""
        self.start_seed = seed
        self.target = np.asarray(target, dtype=np.float64)
        self.reset()
        self.sim.model.site_pos[self.target_site] = self.base_position + (
            self.base_rotation @ self.target
        )
        return self.observe()

    def observe(self) -> Array:
        """Joint positions and velocities, end-effector position and velocity in the base frame.

        Read from the kinematics of the current joint positions. robosuite's own observables are
        those of one physics step earlier.
        """
        model, data = self.sim.model._model, self.sim.data._data
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, jacobian, None, self.end_effector_site)
        offset = data.site_xpos[self.end_effector_site] - self.base_position
        return np.concatenate(
            [
                data.qpos[self.joint_qpos],
                data.qvel[self.joint_qvel],
                self.base_rotation.T @ offset,
                self.base_rotation.T @ (jacobian @ data.qvel),
            ]
        )

    def reward(self, action: Array | None = None) -> float:  # noqa: ARG002
        """Minus the distance of the end effector to the target, in metres."""
        position = self.observe()[2 * self.arm.joints : 2 * self.arm.joints + 3]
        return -float(np.linalg.norm(position - self.target))

    def _load_model(self) -> None:
        super()._load_model()
        robot = self.robots[0].robot_model
        robot.set_base_xpos(robot.base_xpos_offset["table"](TABLE_SIZE[0]))
        arena = TableArena(table_full_size=TABLE_SIZE, table_offset=TABLE_OFFSET)
        arena.set_origin([0, 0, 0])
        # A site has no mass and touches nothing: it only shows in pictures. At the origin the
        # compiler would fix it to the world's frame and it would never move.
        look = {"pos": "0 0 1", "size": "0.025", "rgba": "0.1 0.8 0.2 1", "group": "1"}
        ET.SubElement(arena.worldbody, "site", {"name": TARGET_SITE, **look})
        self.model = ManipulationTask(mujoco_arena=arena, mujoco_robots=[robot], mujoco_objects=[])

    def _setup_references(self) -> None:
        super()._setup_references()
        robot = self.robots[0]
        self.joint_qpos = np.array(robot._ref_arm_joint_pos_indexes)
        self.joint_qvel = np.array(robot._ref_arm_joint_vel_indexes)
        self.end_effector_site = robot.eef_site_id["right"]
        self.target_site = self.sim.model.site_name2id(TARGET_SITE)
        mujoco.mj_kinematics(
            self.sim.model._model, self.sim.data._data
        )  # a reset zeroes site poses
        base = self.sim.model.site_name2id(f"{robot.robot_model.naming_prefix}right_center")
        self.base_position = np.array(self.sim.data.site_xpos[base])
        self.base_rotation = np.array(self.sim.data.site_xmat[base]).reshape(3, 3)

    def _reset_internal(self) -> None:
        for robot in self.robots:
            robot.init_qpos = start_joints(self.arm, self.start_seed)
        super()._reset_internal()
        # robosuite read the arm's state before it placed the fingers: read it again.
        self.robots[0].part_controllers["right"].update(force=True)

    def _setup_observables(self) -> OrderedDict[str, Any]:
        """None: `observe` is what this arm reports, and sampling 30 sensors at 500 Hz costs most of
        a step."""
        return OrderedDict()

    def _check_success(self) -> bool:
        return self.reward() > -0.02
