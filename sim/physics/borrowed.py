"""Memory that copies of one model step in by turns: an `MjData` a thread, which stays in its cache.

A step works in some 50 kB. Where every copy has these to itself, the copies push each other out of
the cache between two of their steps; here a copy's state comes in, is stepped, and what came of it
goes back to the copy's own `MjData`. Knows models and threads; not what is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numba import njit

from fieldtune.sim.physics import libmujoco
from fieldtune.sim.physics.libmujoco import ADDRESS, INT, copy_bytes

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)  # all that a step hangs on, warm start too
_TIME = int(mujoco.mjtState.mjSTATE_TIME)
_SLEEP = int(getattr(mujoco.mjtEnableBit, "mjENBL_SLEEP", 0))  # who sleeps is in no state

_get_state = libmujoco.function("mj_getState", ADDRESS, ADDRESS, ADDRESS, INT)
_set_state = libmujoco.function("mj_setState", ADDRESS, ADDRESS, ADDRESS, INT)


class Borrowed:
    """What each thread steps in.

    Attributes:
        addresses: `(thread, 3)`: of the `MjData`, of its `ctrl`, and of its buffer; of no thread
            where copies step in their own.
        numbers: of a state.
        size: of a buffer, in bytes.
    """

    def __init__(self, models: Sequence[mujoco.MjModel], threads: int) -> None:
        """Args:
        models: one a copy.
        threads: how many step.
        """
        first = models[0]
        alike = all(model is first for model in models)
        lent = threads if alike and _all_in_state(first) else 0
        self._data = [mujoco.MjData(first) for _ in range(lent)]
        self.addresses = np.array(
            [(data._address, data.ctrl.ctypes.data, buffer_of(data)) for data in self._data],
            dtype=np.int64,
        ).reshape(-1, 3)
        self.numbers = mujoco.mj_stateSize(first, STATE)
        self.size = self._data[0].nbuffer if lent else 0

    def close(self) -> None:
        """Free it."""
        self.addresses = self.addresses[:0]
        self._data.clear()


def buffer_of(data: mujoco.MjData) -> int:
    """Where the arrays lie that are not of one step alone: `qpos` is the first of `nbuffer` bytes
    (MuJoCo's mjxmacro.h, MJDATA_POINTERS)."""
    return int(data.qpos.ctypes.data)


def _all_in_state(model: mujoco.MjModel) -> bool:
    """Whether a step hangs on nothing that is in no state: neither plugins, nor who sleeps."""
    return bool(model.nq and not model.nplugin and not model.opt.enableflags & _SLEEP)


@njit(nogil=True, cache=True)
def come_in(model, data, home, state):  # type: ignore[no-untyped-def]
    """Put a copy's state, of the `MjData` at `home`, into that at `data`, by way of `state`."""
    _get_state(model, home, state.ctypes.data, STATE)
    _set_state(model, data, state.ctypes.data, STATE)


@njit(nogil=True, cache=True)
def go_home(model, data, home, state, buffers, size):  # type: ignore[no-untyped-def]
    """Leave at `home` what was stepped in `data`: its time, and all arrays of its buffer.

    `buffers` are the addresses of home's and of data's, `size` their bytes.
    """
    _get_state(model, data, state.ctypes.data, _TIME)
    _set_state(model, home, state.ctypes.data, _TIME)
    copy_bytes(buffers[0], buffers[1], size)
