"""Many `reach` arms at once: robosuite's model and control law in compiled code.

Holds the physics states and their threads. The law itself is `sim.osc`; the model and gains are
read from the robosuite environment, so that both are the same arm.
"""

from __future__ import annotations

import copy
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.family import Array
from sim.osc import Controller, advance, data_addresses
from sim.reach.arms import Arm
from sim.reach.environment import Reach
from sim.reach.start import start_joints
from sim.threads import Shares


@cache
def _compiled(arm: Arm) -> tuple[mujoco.MjModel, Controller, Array, int]:
    """The arm's model, controller, start `qpos` before the noise, and physics steps a period."""
    environment = Reach(arm)
    robot = environment.robots[0]
    part = robot.part_controllers["right"]
    model = copy.copy(environment.sim.model._model)
    gripper = np.array(robot._ref_joint_gripper_actuator_indexes["right"], dtype=np.int64)
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
        gripper_actuators=gripper,
        gripper_ctrl=model.actuator_ctrlrange[gripper].mean(axis=1),
        kp=np.array(part.kp, dtype=np.float64),
        kd=np.array(part.kd, dtype=np.float64),
        delta_low=np.array(part.output_min, dtype=np.float64),
        delta_high=np.array(part.output_max, dtype=np.float64),
        base_position=environment.base_position,
        base_rotation=environment.base_rotation,
    )
    qpos = model.qpos0.copy()
    qpos[robot._ref_gripper_joint_pos_indexes["right"]] = robot.gripper["right"].init_qpos
    substeps = int(environment.control_timestep / environment.model_timestep)
    environment.close()
    return model, controller, qpos, substeps


class ReachBatch:
    """A `BatchSimulator` of `n_envs` arms; none knows of the others."""

    def __init__(self, arm: Arm, n_envs: int, threads: int = 1) -> None:
        self.n_envs = n_envs
        self._shares = Shares(n_envs, threads)
        self._arm = arm
        self._model, self._controller, self._start_qpos, self._substeps = _compiled(arm)
        self._data = [mujoco.MjData(self._model) for _ in range(n_envs)]
        self._addresses = np.array([data_addresses(d) for d in self._data], dtype=np.int64)
        self._postures = np.zeros((n_envs, arm.joints))
        self._observed = np.zeros((n_envs, 2 * arm.joints + 6))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`. A target does not change the dynamics."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} arms: "
                "give one of each an arm"
            )
        for env, (data, seed) in enumerate(zip(self._data, seeds, strict=True)):
            self._postures[env] = start_joints(self._arm, int(seed))
            mujoco.mj_resetData(self._model, data)
            data.qpos[:] = self._start_qpos
            data.qpos[self._controller.qpos] = self._postures[env]
            mujoco.mj_forward(self._model, data)
        return self._run(np.zeros((self.n_envs, 3)), 0)

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`. `actions` `(env, 3)` in metres; never terminal."""
        displacements = np.ascontiguousarray(actions, dtype=np.float64)
        if displacements.shape != (self.n_envs, 3) or not np.isfinite(displacements).all():
            raise ValueError(
                f"step: actions of shape {displacements.shape}, finite: "
                f"{bool(np.isfinite(displacements).all())}; expected finite ({self.n_envs}, 3)"
            )
        return self._run(displacements, self._substeps), np.zeros(self.n_envs, dtype=np.bool_)

    def signals(self) -> Array:
        """See `BatchSimulator.signals`. The reward needs none."""
        return np.empty((self.n_envs, 0))

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._shares.close()
        self._data.clear()
        self.n_envs = 0

    def _run(self, displacements: Array, substeps: int) -> Array:
        def share(start: int, stop: int) -> None:
            advance(
                self._model._address,
                self._addresses[start:stop],
                self._controller,
                displacements[start:stop],
                self._postures[start:stop],
                substeps,
                self._observed[start:stop],
            )

        self._shares.run(share)
        return self._observed.copy()
