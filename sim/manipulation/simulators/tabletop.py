"""`Tabletop`: a robosuite environment with an arm over its Lift table and a scene on it.

The truth that the fast simulators are held to. It knows nothing of batches, tasks or learning.
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
from robosuite.models.objects import BoxObject  # noqa: E402
from robosuite.models.tasks import ManipulationTask  # noqa: E402

from fieldtune.sim.family import Array  # noqa: E402
from fieldtune.sim.manipulation.arms import Arm  # noqa: E402
from fieldtune.sim.manipulation.fixtures import KINDS  # noqa: E402
from fieldtune.sim.manipulation.scene import Addresses, Scene, Start, observe  # noqa: E402

CONTROL_HZ = 20
ACTION_LIMIT = 0.05  # m in a control period: OSC_POSITION's output range
TABLE_OFFSET = (0.0, 0.0, 0.8)
TABLE_SIZE = (0.8, 0.8, 0.05)


def controller_config(arm: Arm) -> dict[str, Any]:
    """The arm's default controller and gains, for position control instead of pose."""
    config = load_composite_controller_config(robot=arm.robosuite_name)
    part = config["body_parts"]["right"]
    part["type"] = "OSC_POSITION"
    part["output_min"], part["output_max"] = [-ACTION_LIMIT] * 3, [ACTION_LIMIT] * 3
    return config


class Tabletop(ManipulationEnv):
    """An arm, a table, and what `scene` puts on it.

    robosuite's action has four components: displacement / 0.05 m in the base frame, and the
    gripper, which moves towards closed for a positive number, open for a negative one.
    """

    def __init__(self, arm: Arm, scene: Scene) -> None:
        self.arm, self.scene = arm, scene
        self._next = Start(joints=np.asarray(scene.home_joints(arm)))
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

    def begin(self, start: Start) -> None:
        """Reset to a start state."""
        self._next = start
        self.reset()
        for site, position in zip(self.marker_sites, start.marks, strict=True):
            self.sim.model.site_pos[site] = self.base_position + self.base_rotation @ position

    def observe_arm(self) -> Array:
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

    def observe(self) -> Array:
        """What `scene.observation_fields` says, `(observation,)`."""
        data = self.sim.data._data
        moved = self.observe_arm()
        return observe(
            self.arm,
            self.scene,
            self.addresses,
            self.base_position,
            moved,
            data.qpos,
            data.mocap_pos[list(self.addresses.mocaps)],
        )

    def reward(self, action: Array | None = None) -> float:  # noqa: ARG002
        """None: a family's reward is a function of what is observed."""
        return 0.0

    def _load_model(self) -> None:
        super()._load_model()
        robot = self.robots[0].robot_model
        robot.set_base_xpos(robot.base_xpos_offset["table"](TABLE_SIZE[0]))
        arena = TableArena(table_full_size=TABLE_SIZE, table_offset=TABLE_OFFSET)
        arena.set_origin([0, 0, 0])
        # A site has no mass and touches nothing: it only shows in pictures. At the origin the
        # compiler would fix it to the world's frame and it would never move.
        look = {"pos": "0 0 1", "rgba": "0.1 0.8 0.2 1", "group": "1"}
        for marker in self.scene.markers:
            size = f"{marker.radius:g}"
            ET.SubElement(arena.worldbody, "site", {"name": marker.name, "size": size, **look})
        for fixture in self.scene.fixtures:
            kind = KINDS[fixture.kind]
            arena.worldbody.append(ET.fromstring(kind.mjcf.format(name=fixture.name)))
            for pair in kind.rubs:
                first, second = (body.format(name=fixture.name) for body in pair)
                ET.SubElement(arena.contact, "exclude", {"body1": first, "body2": second})
        self._loose = [
            BoxObject(name=block.name, size=block.half_size, rgba=block.rgba)
            for block in self.scene.blocks
        ]
        self.model = ManipulationTask(
            mujoco_arena=arena, mujoco_robots=[robot], mujoco_objects=self._loose
        )

    def _setup_references(self) -> None:
        super()._setup_references()
        robot, model = self.robots[0], self.sim.model
        self.joint_qpos = np.array(robot._ref_arm_joint_pos_indexes)
        self.joint_qvel = np.array(robot._ref_arm_joint_vel_indexes)
        self.end_effector_site = robot.eef_site_id["right"]
        self.marker_sites = [model.site_name2id(marker.name) for marker in self.scene.markers]
        mujoco.mj_kinematics(model._model, self.sim.data._data)  # a reset zeroes site poses
        base = model.site_name2id(f"{robot.robot_model.naming_prefix}right_center")
        self.base_position = np.array(self.sim.data.site_xpos[base])
        self.base_rotation = np.array(self.sim.data.site_xmat[base]).reshape(3, 3)
        left, right = robot._ref_gripper_joint_pos_indexes["right"]
        self.addresses = Addresses(
            fingers=(left, right),
            blocks=tuple(model.get_joint_qpos_addr(body.joints[0])[0] for body in self._loose),
            fixtures=tuple(
                -1
                if KINDS[fixture.kind].joint is None
                else int(model.get_joint_qpos_addr(fixture.name))
                for fixture in self.scene.fixtures
            ),
            mocaps=tuple(
                int(model.body_mocapid[model.body_name2id(fixture.name)])
                for fixture in self.scene.fixtures
            ),
        )

    def _reset_internal(self) -> None:
        for robot in self.robots:
            robot.init_qpos = self._next.joints
        super()._reset_internal()
        data = self.sim.data._data
        for address, pose in zip(self.addresses.blocks, self._next.blocks, strict=False):
            data.qpos[address : address + 3] = self.base_position + pose[:3]
            data.qpos[address + 3 : address + 7] = pose[3:]
        for row, position in zip(self.addresses.mocaps, self._next.fixtures, strict=False):
            data.mocap_pos[row] = self.base_position + position
        # robosuite read the arm's state before it placed the fingers: read it again.
        self.robots[0].part_controllers["right"].update(force=True)

    def _setup_observables(self) -> OrderedDict[str, Any]:
        """None: `observe` is what this arm reports, and sampling 30 sensors at 500 Hz costs most of
        a step."""
        return OrderedDict()
