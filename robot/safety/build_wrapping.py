"""Which joints wrap: what the model says, unless the config says it, held against the fields.

Knows the config and the fields. It must not know how limits are applied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import CommandKind, JointsConfig
from fieldtune.robot.safety.joints import JointLimits
from fieldtune.robot.safety.layout import Layout, LimitsError, unknown
from fieldtune.robot.safety.units import UNITS
from fieldtune.robot.safety.wrapping import GAP, OVERLAP, TURN, Targets, Wrapping

Array = NDArray[np.float64]


def wrapping_of(
    key: str, group: JointsConfig, joints: JointLimits, observations: Layout, modelled: bool
) -> Wrapping | None:
    """The joints of a group that wrap; None where none does.

    Args:
        key: of the group in the config, for errors.
        modelled: whether there is a model: without one nothing is known of a joint.

    Raises:
        LimitsError: joints that are said to wrap, and cannot.
    """
    wraps = _said(key, group)
    if group.position is None:
        if wraps is not None and wraps.any():
            raise LimitsError(f"{key}.wraps: no field shows the angles: give {key}.position")
        return None
    rotates, _ = UNITS["position"][observations.units[group.position]]
    if wraps is None:
        endless = np.isneginf(joints.low) & np.isposinf(joints.high)
        wraps = endless & (modelled and rotates)
    if not wraps.any():
        return None
    if not rotates:
        raise LimitsError(
            f"{key}.wraps: {group.position!r} is in {observations.units[group.position]!r}: only "
            "what rotates wraps"
        )
    span = joints.high - joints.low
    wide = wraps & np.isfinite(span) & (span > TURN + GAP)
    if wide.any():
        index = int(np.argmax(wide))
        raise LimitsError(
            f"{key}.wraps: {group.names[index]!r} has ends {span[index]:g} rad apart, more than a "
            "turn: where it stands cannot be told from an angle that wraps: wraps: false"
        )
    return Wrapping(wraps, joints.low, joints.high)


def targets_of(
    key: str,
    group: JointsConfig,
    joints: JointLimits,
    wrapping: Wrapping,
    observations: Layout,
    action_low: Array,
    action_high: Array,
) -> Targets | None:
    """What joints that wrap may be told; None where they are not told positions.

    Raises:
        LimitsError: nothing says whether the hardware takes the short way, or turns back.
    """
    if group.command_kind is not CommandKind.POSITION or joints.command is None:
        return None
    part, factor = joints.command.part, joints.command.factor
    targets = Targets(wrapping, action_low[part] * factor, action_high[part] * factor)
    if group.wraps is None and joints.position is not None:
        seen, turn = joints.position, TURN / joints.position.factor
        span = observations.high[seen.part] - observations.low[seen.part]
        whole = (span >= turn * (1 - GAP / TURN)) & (span <= turn * (1 + OVERLAP))
        open_to_doubt = targets.crosses & ~whole
        if open_to_doubt.any():
            name = group.names[int(np.argmax(open_to_doubt))]
            raise LimitsError(
                f"{key}: {name!r} has no ends in the model, {group.command!r} tells it one turn, "
                f"and {group.position!r} may show more: say {key}.wraps: true where the hardware "
                "takes the short way from one end of that turn to the other, false where it would "
                "turn all the way back"
            )
    return targets


def describe_wrapping(index: int, joints: JointLimits) -> str:
    """What is to be said at start of the joint at `index`; empty where it does not wrap."""
    if joints.wrapping is None or not joints.wrapping.wraps[index]:
        return ""
    if joints.targets is None:
        return "wraps at a whole turn"
    if joints.targets.crosses[index]:
        return "wraps at a whole turn, told the short way round"
    low, high = joints.targets.low[index], joints.targets.high[index]
    return f"wraps at a whole turn, told within [{low:g}, {high:g}] and never across"


def _said(key: str, group: JointsConfig) -> NDArray[np.bool_] | None:
    if group.wraps is None or isinstance(group.wraps, bool):
        return None if group.wraps is None else np.full(len(group.names), group.wraps)
    for name in group.wraps:
        if name not in group.names:
            raise unknown(f"{key}.wraps", f"joint of {key}.names", name, group.names)
    return np.array([name in group.wraps for name in group.names])
