"""MuJoCo's constraint islands, left out where they cannot help.

Knows models alone, no family. Since 3.3.6 MuJoCo looks for groups of bodies that touch, and solves
each by itself: worth it in a scene of many, work for nothing where there is one body to solve for.
"""

from __future__ import annotations

import mujoco

# MuJoCo before 3.3.6 has no such bit, and no islands unless asked.
_NO_ISLANDS = int(getattr(mujoco.mjtDisableBit, "mjDSBL_ISLAND", 0))


def leave_out_islands(model: mujoco.MjModel) -> None:
    """Switch islands off in a `model` of one kinematic tree; leave any other as it is.

    One tree is one island, so that nothing changes to the last bit
    (`tests/sim/physics/test_islands.py`). Of several trees the solver would sum in another order.
    """
    if model.ntree == 1:
        model.opt.disableflags |= _NO_ISLANDS
