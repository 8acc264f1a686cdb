"""Many `reach` arms at once: robosuite's model and control law in compiled code.

Holds the physics states and their threads. The law itself is
`fieldtune.sim.manipulation.simulators.osc`; the model and gains are read from the robosuite
environment (`fieldtune.sim.manipulation.simulators.compiled`).
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Scene
from fieldtune.sim.manipulation.simulators.compiled import compiled
from fieldtune.sim.manipulation.simulators.osc import advance, data_addresses
from fieldtune.sim.manipulation.start import start_joints
from fieldtune.sim.physics.threads import Shares, Turns


class ReachBatch:
    """A `BatchSimulator` of `n_envs` arms; none knows of the others."""

    def __init__(self, arm: Arm, n_envs: int, threads: int = 1) -> None:
        self.n_envs = n_envs
        self._shares = Shares(n_envs, threads)
        self._arm = arm
        self._compiled = compiled(arm, Scene())
        self._model, self._start_qpos = self._compiled.model, self._compiled.qpos
        self._data = [mujoco.MjData(self._model) for _ in range(n_envs)]
        self._models = np.full(n_envs, self._model._address, dtype=np.int64)
        self._addresses = np.array([data_addresses(d) for d in self._data], dtype=np.int64)
        self._postures = np.zeros((n_envs, arm.joints))
        self._grips = np.tile(self._compiled.gripper.middle, (n_envs, 1))  # as it is
        self._observed = np.zeros((n_envs, 2 * arm.joints + 6))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`. A target does not change the dynamics."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} arms: "
                "give one of each an arm"
            )
        for env, (data, seed) in enumerate(zip(self._data, seeds, strict=True)):
            self._postures[env] = start_joints(self._arm.home_joints, int(seed))
            mujoco.mj_resetData(self._model, data)
            data.qpos[:] = self._start_qpos
            data.qpos[self._compiled.controller.qpos] = self._postures[env]
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
        return self._run(displacements, self._compiled.substeps), np.zeros(
            self.n_envs, dtype=np.bool_
        )

    def signals(self) -> Array:
        """See `BatchSimulator.signals`. The reward needs none."""
        return np.empty((self.n_envs, 0))

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._shares.close()
        self._data.clear()
        self.n_envs = 0

    def _run(self, displacements: Array, substeps: int) -> Array:
        def share(turns: Turns) -> None:
            advance(
                turns,
                self._models,
                self._addresses,
                self._compiled.controller,
                displacements,
                self._grips,
                self._postures,
                substeps,
                self._observed,
            )

        self._shares.run(share)
        return self._observed.copy()
