"""Many arms over the same scene at once: robosuite's model and control law in compiled code.

Holds the physics states and their threads. The law itself is
`fieldtune.sim.manipulation.simulators.osc`; what it needs to know is read from the robosuite
environment (`fieldtune.sim.manipulation.simulators.compiled`).
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Scene, Starts, observe
from fieldtune.sim.manipulation.simulators.compiled import compiled
from fieldtune.sim.manipulation.simulators.osc import advance, data_addresses
from fieldtune.sim.physics.threads import Shares, Turns


class TabletopBatch:
    """A `BatchSimulator` of `n_envs` arms, each over a table of its own."""

    def __init__(
        self, arm: Arm, scene: Scene, start: Starts, n_envs: int, threads: int = 1
    ) -> None:
        """Args:
        arm: the same in every copy.
        scene: what stands on every table.
        start: asked once a copy at every reset.
        n_envs: copies.
        threads: the copies are split over so many; 1 starts none.
        """
        self.n_envs = n_envs
        self._shares = Shares(n_envs, threads)
        self._arm, self._scene, self._start = arm, scene, start
        self._of = compiled(arm, scene)
        self._models = self._make_models(n_envs)
        self._data = [mujoco.MjData(model) for model in self._models]
        self._model_addresses = np.array([m._address for m in self._models], dtype=np.int64)
        self._addresses = np.array([data_addresses(d) for d in self._data], dtype=np.int64)
        self._qpos = [data.qpos for data in self._data]
        self._rows = list(self._of.addresses.mocaps)
        self._postures = np.zeros((n_envs, arm.joints))
        self._gripper = np.zeros((n_envs, len(self._of.gripper.stride)))
        self._places = np.zeros((n_envs, len(scene.fixtures), 3))
        self._moved = np.zeros((n_envs, 2 * arm.joints + 6))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`. A task may say where things stand."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} arms: "
                "give one of each an arm"
            )
        of = self._of
        self._gripper[:] = 0.0
        for env, (data, seed, task) in enumerate(zip(self._data, seeds, tasks, strict=True)):
            start, model = self._start(int(seed), task), self._models[env]
            mujoco.mj_resetData(model, data)
            self._postures[env] = start.joints
            self._places[env] = of.base + start.fixtures
            data.qpos[:] = of.qpos
            data.qpos[of.controller.qpos] = start.joints
            for address, pose in zip(of.addresses.blocks, start.blocks, strict=True):
                data.qpos[address : address + 3] = of.base + pose[:3]
                data.qpos[address + 3 : address + 7] = pose[3:]
            data.mocap_pos[self._rows] = self._places[env]
            mujoco.mj_forward(model, data)
        return self._run(np.zeros((self.n_envs, 3)), 0)

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`. `actions` `(env, 4)`: metres, gripper; never terminal."""
        actions = self._checked(actions)
        change = self._of.gripper.stride * np.sign(actions[:, 3:])
        self._gripper = np.clip(self._gripper + change, -1.0, 1.0)
        observed = self._run(np.ascontiguousarray(actions[:, :3]), self._of.substeps)
        return observed, np.zeros(self.n_envs, dtype=np.bool_)

    def _checked(self, actions: Array) -> Array:
        actions = np.ascontiguousarray(actions, dtype=np.float64)
        if actions.shape != (self.n_envs, 4) or not np.isfinite(actions).all():
            raise ValueError(
                f"step: actions of shape {actions.shape}, finite: "
                f"{bool(np.isfinite(actions).all())}; expected finite ({self.n_envs}, 4)"
            )
        return actions

    def signals(self) -> Array:
        """See `BatchSimulator.signals`. No reward needs any."""
        return np.empty((self.n_envs, 0))

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._shares.close()
        self._qpos.clear()
        self._data.clear()
        self._models.clear()
        self.n_envs = 0

    def _run(self, displacements: Array, substeps: int) -> Array:
        of = self._of
        grips = of.gripper.middle + of.gripper.half * self._gripper

        def share(turns: Turns) -> None:
            advance(
                turns,
                self._model_addresses,
                self._addresses,
                of.controller,
                displacements,
                grips,
                self._postures,
                substeps,
                self._moved,
            )

        self._shares.run(share)
        return observe(
            self._arm,
            self._scene,
            of.addresses,
            of.base,
            self._moved,
            np.array(self._qpos),
            self._places,
        )

    def _make_models(self, n_envs: int) -> list[mujoco.MjModel]:
        """The model of each arm: one for all."""
        return [self._of.model] * n_envs
