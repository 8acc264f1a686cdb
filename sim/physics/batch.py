"""Batched stepping of plain MuJoCo models, bit-identical to stepping them one by one.

Shared by the locomotion families. It knows physics states and controls, not observations, tasks or
rewards: a family reads the states' arrays by name and makes of them what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from fieldtune.sim.family import Array
from fieldtune.sim.physics import libmujoco
from fieldtune.sim.physics.borrowed import Borrowed, buffer_of, come_in, go_home
from fieldtune.sim.physics.libmujoco import ADDRESS, gather, pointer
from fieldtune.sim.physics.threads import Shares, Turns, enter, take

_mj_step = libmujoco.function("mj_step", ADDRESS, ADDRESS)
_mj_rne_post_constraint = libmujoco.function("mj_rnePostConstraint", ADDRESS, ADDRESS)


class MujocoBatch:
    """`n` physics states, each with a model of its own or all with the same one.

    Each thread steps its share in compiled code: in Python every copy's turn waited for the
    interpreter. Not `mujoco.rollout`, which drops the solver's warm start and so drifts from the
    environment that it stands for. Copies of one model step in memory that the threads lend them
    (`fieldtune.sim.physics.borrowed`).

    Attributes:
        data: the states. What MuJoCo makes anew in each step and keeps no place for (contacts,
            constraints, counts) is left of the last `set`.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        substeps: int,
        threads: int = 1,
        *,
        contact_forces: bool = False,
    ) -> None:
        """Args:
        models: one a copy; may repeat the same object.
        substeps: physics steps in a control period.
        threads: the states are split over so many; 1 starts none.
        contact_forces: whether `cfrc_ext` is computed after a step, as gymnasium does.
        """
        self._shares = Shares(len(models), threads)
        self._models = list(models)
        self._substeps = substeps
        self._contact_forces = contact_forces
        self.data = [mujoco.MjData(model) for model in self._models]
        self._qpos = [data.qpos for data in self.data]
        self._qvel = [data.qvel for data in self.data]
        self._borrowed = Borrowed(self._models, self._shares.threads)
        self._addresses = np.array(
            [
                (model._address, data._address, data.ctrl.ctypes.data, buffer_of(data))
                for model, data in zip(self._models, self.data, strict=True)
            ],
            dtype=np.int64,
        )
        self._places: dict[str, tuple[NDArray[np.int64], tuple[int, ...]]] = {}

    def set(self, qpos: Array, qvel: Array) -> None:
        """Put every copy in a state, `(env, nq)` and `(env, nv)`, as if nothing had been before."""
        for env, (model, data) in enumerate(zip(self._models, self.data, strict=True)):
            mujoco.mj_resetData(model, data)
            self._qpos[env][:] = qpos[env]
            self._qvel[env][:] = qvel[env]
            mujoco.mj_forward(model, data)

    def step(self, controls: Array, moving: NDArray[np.bool_] | None = None) -> None:
        """Hold `controls` `(env, nu)` for one control period; MuJoCo clamps them to their range.

        Args:
            moving: `(env,)`, copies to step; the others keep their state. All where not given.

        Raises:
            ValueError: for another shape, or a number that is not finite.
        """
        expected = (len(self.data), self._models[0].nu)
        if controls.shape != expected or not np.isfinite(controls).all():
            raise ValueError(
                f"step: actions of shape {controls.shape}, finite: "
                f"{bool(np.isfinite(controls).all())}; expected finite {expected}"
            )
        chosen = np.ones(len(self.data), np.bool_) if moving is None else moving
        lent = self._borrowed

        def share(turns: Turns) -> None:
            _advance(
                turns,
                self._addresses,
                (lent.addresses, lent.numbers, lent.size),
                controls,
                chosen,
                self._substeps,
                self._contact_forces,
            )

        self._shares.run(share)

    def state(self) -> tuple[Array, Array]:
        """Copies of `qpos` `(env, nq)` and `qvel` `(env, nv)`."""
        return self.read("qpos"), self.read("qvel")

    def read(self, name: str) -> Array:
        """A copy of the float64 array of every `MjData` that is called `name`, `(env, ...)`.

        Raises:
            TypeError: it holds other numbers, or is made anew in each step, as `efc_force` is.
        """
        if name not in self._places:
            arrays = [getattr(data, name) for data in self.data]
            if arrays[0].dtype != np.float64:
                raise TypeError(f"{name} holds {arrays[0].dtype}, expected float64")
            inside = arrays[0].ctypes.data - buffer_of(self.data[0])
            if not 0 <= inside < self.data[0].nbuffer:
                raise TypeError(f"{name} has no place of its own in MuJoCo's states: read another")
            addresses = np.array([array.ctypes.data for array in arrays], dtype=np.int64)
            self._places[name] = addresses, arrays[0].shape
        addresses, shape = self._places[name]
        found = np.empty((len(addresses), *shape))
        gather(addresses, found.reshape(len(addresses), -1))
        return found

    def close(self) -> None:
        """Stop the threads and free the states."""
        self._shares.close()
        self._borrowed.close()
        self._places.clear()
        for views in (self._qpos, self._qvel, self.data):
            views.clear()


@njit(nogil=True, cache=True)
def _advance(turns, addresses, lent, controls, moving, substeps, contact_forces):  # type: ignore[no-untyped-def]
    """Hold `controls` `(env, nu)` for one control period, in the rows that `turns` gives.

    `addresses` `(env, 4)`: of the `MjModel`, of the `MjData`, of its `ctrl` and of its buffer.
    `lent`: what `Borrowed` has, its addresses, numbers and size.
    """
    borrowed, numbers, size = lent
    me, state = enter(turns), np.empty(numbers)
    start, stop = take(turns)
    while start < stop:
        for env in range(start, stop):
            if not moving[env]:
                continue
            model, home = addresses[env, 0], addresses[env, 1]
            data, held = home, addresses[env, 2]
            if len(borrowed):
                data, held = borrowed[me, 0], borrowed[me, 1]
                come_in(model, data, home, state)
            ctrl = carray(pointer(held), (controls.shape[1],))
            ctrl[:] = controls[env]
            for _ in range(substeps):
                _mj_step(model, data)
            if contact_forces:
                _mj_rne_post_constraint(model, data)
            if len(borrowed):
                go_home(model, data, home, state, (addresses[env, 3], borrowed[me, 2]), size)
        start, stop = take(turns)
