"""Many arms, each a little unlike robosuite's, in other ways in every episode.

Makes a `Variation` true in a batch's models, actions and observations. It knows no task.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.manipulation.arms import Arm
from fieldtune.sim.manipulation.scene import Scene, Starts, reported_fields, with_gaps
from fieldtune.sim.manipulation.simulators.batch import TabletopBatch
from fieldtune.sim.manipulation.variation import Delay, Drawn, Variation, draw


class VariedBatch(TabletopBatch):
    """A `TabletopBatch` with a model, a delay and a noise of its own for every arm."""

    def __init__(
        self,
        arm: Arm,
        scene: Scene,
        start: Starts,
        variation: Variation,
        n_envs: int,
        threads: int = 1,
    ) -> None:
        """Args:
        arm, scene, start, n_envs, threads: see `TabletopBatch`.
        variation: what is drawn anew for every copy at every reset.

        Raises:
            ValueError: it names a unit that no observation of the scene has.
        """
        super().__init__(arm, scene, start, n_envs, threads)
        self._variation = variation
        self._deviations = variation.noise(reported_fields(arm, scene))
        joints = [a for a in (*self._of.addresses.blocks, *self._of.addresses.fixtures) if a >= 0]
        nominal = self._of.model
        self._movable = nominal.jnt_bodyid[np.isin(nominal.jnt_qposadr, joints)]

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`. What varies is drawn from `seeds` too."""
        self._drawn = [draw(self._variation, seed) for seed in seeds]
        for model, data, drawn in zip(self._models, self._data, self._drawn, strict=False):
            self._vary(model, data, drawn)
        self._delay = Delay(np.array([drawn.latency for drawn in self._drawn]), 4)
        return self._noisy(super().reset(seeds, tasks))

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`."""
        observed, done = super().step(self._delay.through(self._checked(actions)))
        return self._noisy(observed), done

    def _make_models(self, n_envs: int) -> list[mujoco.MjModel]:
        return [copy.copy(self._of.model) for _ in range(n_envs)]

    def _vary(self, model: mujoco.MjModel, data: mujoco.MjData, drawn: Drawn) -> None:
        nominal, motors = self._of.model, self._of.controller.actuators
        moved = self._movable
        model.body_mass[moved] = drawn.mass * nominal.body_mass[moved]
        model.body_inertia[moved] = drawn.mass * nominal.body_inertia[moved]
        model.geom_friction[:, 0] = drawn.friction * nominal.geom_friction[:, 0]
        model.actuator_gainprm[motors, 0] = (
            drawn.actuator_gain * nominal.actuator_gainprm[motors, 0]
        )
        mujoco.mj_setConst(model, data)  # what follows from masses

    def _noisy(self, observed: Array) -> Array:
        noise = [drawn.noise.standard_normal(len(self._deviations)) for drawn in self._drawn]
        reported = observed[:, : len(self._deviations)] + self._deviations * np.array(noise)
        return with_gaps(self._arm, self._scene, reported)
