"""What the compiled controller needs to know of a `Tabletop`, read from it once.

Model, gains and indices come from the robosuite environment, so that both are the same arm.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import NamedTuple

import mujoco
import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Addresses, Scene
from fieldtune.sim.manipulation.simulators.osc import Controller
from fieldtune.sim.manipulation.simulators.tabletop import Tabletop
from fieldtune.sim.physics.islands import leave_out_islands


class Gripper(NamedTuple):
    """How a command becomes what the fingers' actuators are told.

    A command's sign moves `state` by `stride` `(finger,)` within ±1, once a control period, as the
    grippers' `format_action`; the actuators get middle + half · state.
    """

    stride: Array
    middle: Array
    half: Array


class Compiled(NamedTuple):
    """A model, its controller and gripper, `qpos` before anything is placed, and where things are.

    `substeps` are the physics steps of a control period.
    """

    model: mujoco.MjModel
    controller: Controller
    gripper: Gripper
    qpos: Array
    substeps: int
    addresses: Addresses
    base: Array


@cache
def compiled(arm: Arm, scene: Scene) -> Compiled:
    """The first call in a process loads robosuite (seconds)."""
    environment = Tabletop(arm, scene)
    robot = environment.robots[0]
    part = robot.part_controllers["right"]
    model = copy.copy(environment.sim.model._model)
    leave_out_islands(model)
    fingers = np.array(robot._ref_joint_gripper_actuator_indexes["right"], dtype=np.int64)
    controller = Controller(
        site=environment.end_effector_site,
        nq=model.nq,
        nv=model.nv,
        nu=model.nu,
        nsite=model.nsite,
        qpos=environment.joint_qpos.astype(np.int64),
        qvel=environment.joint_qvel.astype(np.int64),
        actuators=np.array(robot._ref_arm_joint_actuator_indexes, dtype=np.int64),
        torque_low=np.array(part.actuator_min, dtype=np.float64),
        torque_high=np.array(part.actuator_max, dtype=np.float64),
        gripper_actuators=fingers,
        kp=np.array(part.kp, dtype=np.float64),
        kd=np.array(part.kd, dtype=np.float64),
        delta_low=np.array(part.output_min, dtype=np.float64),
        delta_high=np.array(part.output_max, dtype=np.float64),
        base_position=environment.base_position,
        base_rotation=environment.base_rotation,
    )
    hand = robot.gripper["right"]
    hand.current_action = np.zeros(len(fingers))
    low, high = model.actuator_ctrlrange[fingers].T
    gripper = Gripper(
        stride=np.array(hand.format_action(np.ones(1))),
        middle=0.5 * (high + low),
        half=0.5 * (high - low),
    )
    qpos = model.qpos0.copy()
    qpos[robot._ref_gripper_joint_pos_indexes["right"]] = hand.init_qpos
    found = Compiled(
        model=model,
        controller=controller,
        gripper=gripper,
        qpos=qpos,
        substeps=int(environment.control_timestep / environment.model_timestep),
        addresses=environment.addresses,
        base=environment.base_position,
    )
    environment.close()
    return found
