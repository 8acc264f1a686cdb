"""A compiled model from MJCF, by text or file, once a process.

Knows MuJoCo; no robot, and of a family its name alone, for errors.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldtune.sim.family import Array
from fieldtune.sim.physics.picks import ModelError

if TYPE_CHECKING:
    import mujoco


class Unstable(ModelError):
    """The simulation left what numbers can say. The message names the component and the cure."""


@cache
def compiled(name: str, mjcf: str | Path) -> mujoco.MjModel:
    """The model of a family called `name`. Shared: nothing may write to it.

    MuJoCo would put a state that is not finite back to its default, in the middle of an episode
    and unsaid: here it stays what it is, for `require_finite` to tell.

    Args:
        mjcf: the text, or the absolute path of its file.

    Raises:
        ModelError: it is neither, or MuJoCo does not take it.
    """
    import mujoco

    from fieldtune.sim.physics.islands import leave_out_islands

    text = isinstance(mjcf, str) and mjcf.lstrip().startswith("<")
    if not text and not Path(mjcf).is_absolute():
        raise ModelError(
            f"{name}: mjcf is {str(mjcf)!r}: expected MJCF text or an absolute path, such as "
            "Path(__file__).with_name('robot.xml')"
        )
    load = mujoco.MjModel.from_xml_string if text else mujoco.MjModel.from_xml_path
    try:
        found = load(str(mjcf))
    except ValueError as error:
        raise ModelError(f"{name}: the MJCF cannot be compiled: {error}") from error
    leave_out_islands(found)
    found.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    return found


def rest(name: str, model: mujoco.MjModel, keyframe: str | None) -> tuple[Array, Array]:
    """`qpos` and `qvel` of a keyframe; the model's default state where None.

    Raises:
        ModelError: the model of the family called `name` has no such keyframe.
    """
    if keyframe is None:
        return np.array(model.qpos0), np.zeros(int(model.nv))
    try:
        found = model.key(keyframe)
    except KeyError as error:
        raise ModelError(f"{name}: keyframe is {keyframe!r}: {error.args[0]}") from None
    return np.array(found.qpos), np.array(found.qvel)


def require_finite(name: str, observations: Array) -> Array:
    """`observations` `(env, observation)` as they were given. Raises `Unstable`."""
    if not np.isfinite(observations).all():
        copy, column = np.argwhere(~np.isfinite(observations))[0]
        raise Unstable(
            f"{name}: number {column} of the observation of copy {copy} is "
            f"{observations[copy, column]}: the simulation is unstable; take a smaller timestep "
            "and more substeps, more damping or armature, or end the episode sooner by `terminal`"
        )
    return observations
