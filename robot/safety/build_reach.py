"""What ranges and boxes mean by what an action commands; contradictions, found before a motion.

Knows the joints, and the config's words for them. It must not know how limits are applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import BoxConfig, CommandKind
from fieldtune.robot.safety.joints import JointLimits
from fieldtune.robot.safety.layout import Layout, LimitsError
from fieldtune.robot.safety.units import UNITS

Array = NDArray[np.float64]

# What a unit alone says. A rad may be a place or a way.
_BY_UNIT = dict.fromkeys(UNITS["velocity"], CommandKind.VELOCITY) | dict.fromkeys(
    UNITS["effort"], CommandKind.EFFORT
)


def require_meaning(
    boxes: Mapping[str, BoxConfig],
    joints: Sequence[JointLimits],
    actions: Layout,
    action_low: Array,
    action_high: Array,
) -> None:
    """Raise `LimitsError` for a box held by an action that may not be 0, or of which nobody says
    what it commands."""
    for name, box in boxes.items():
        if box.action is None:
            if box.command_kind is not None:
                raise LimitsError(
                    f"robot.limits.box.{name}.command_kind says what `action` commands, and none "
                    "is given"
                )
            continue
        key, part = f"robot.limits.box.{name}", actions.find(f"box.{name}.action", box.action)
        known = {group.kind for group in joints if group.command and group.command.part == part}
        unit = actions.units[box.action]
        if not known and unit in _BY_UNIT:
            known = {_BY_UNIT[unit]}
        if known and box.command_kind is not None and box.command_kind not in known:
            (kind,) = known
            raise LimitsError(
                f"{key}.command_kind is {box.command_kind!s}, and {box.action!r} commands "
                f"{kind!s} (robot.limits.joints, or its unit {unit!r}): remove it"
            )
        if known or box.command_kind not in (None, CommandKind.POSITION):
            restless = (action_low[part] > 0) | (action_high[part] < 0)
            if restless.any() and CommandKind.POSITION not in known:
                raise LimitsError(
                    f"{key}.action: {box.action!r} cannot be 0 in its range, so it cannot stop "
                    "motion"
                )
            continue
        raise LimitsError(
            f"{key}.action: nothing says what {box.action!r} (in {unit!r}) commands, and where it "
            f"tells a place, 0 is a motion: name what it commands in robot.limits.joints, or give "
            f"{key}.command_kind: displacement, velocity or effort. Only robot.limits.joints says "
            "where something stands that is commanded by position"
        )


def within_reach(
    groups: Iterable[JointLimits],
    *,
    action_low: Array,
    action_high: Array,
    rate: Array,
    box_low: Array,
    box_high: Array,
    box_action: NDArray[np.int64],
) -> tuple[JointLimits, ...]:
    """The groups of the config's `joints`, with the ends that range and box are to targets.

    Args:
        action_low: with `action_high` and `rate`, of actions: `(action,)`.
        box_low: with `box_high` and `box_action`, of observations: `(observation,)`.

    Raises:
        LimitsError: an action of which the range leaves no command that stops a joint, or no place
            that its other limits allow.
    """
    found = []
    for index, group in enumerate(groups):
        key = f"robot.limits.joints[{index}].command"
        if group.command is None:
            found.append(group)
        elif group.told_where:
            boxes = _own_box(group, box_low, box_high, box_action)
            found.append(_ended(key, group, action_low, action_high, boxes))
        else:
            part = group.command.part
            _require_rest(key, group, action_low[part], action_high[part], rate[part])
            found.append(group)
    return tuple(found)


def _require_rest(key: str, group: JointLimits, low: Array, high: Array, rate: Array) -> None:
    limited = np.isfinite(
        [
            group.low,
            group.high,
            group.max_velocity,
            group.max_acceleration,
            group.effort_low,
            group.effort_high,
            rate,
        ]
    ).any(axis=0)
    restless = limited & ((low > 0) | (high < 0))
    if restless.any():
        index = int(np.argmax(restless))
        raise LimitsError(
            f"{key}: its range for joint {group.names[index]!r} is [{low[index]:g}, "
            f"{high[index]:g}]: it cannot be 0, so no limit of the joint could stop it: let the "
            "range (robot.limits.action_range, the driver's or the bundle's) hold 0"
        )


def _own_box(
    group: JointLimits, low: Array, high: Array, action: NDArray[np.int64]
) -> tuple[Array, Array]:
    """The ends that boxes set to the very positions which a group is told, in rad or m."""
    ends = np.full(len(group.names), -np.inf), np.full(len(group.names), np.inf)
    assert group.command is not None
    for component in np.flatnonzero(action >= 0):
        joint = int(action[component]) - group.command.part.start
        if not 0 <= joint < len(group.names) or not group.shows(joint, int(component)):
            continue
        assert group.position is not None  # it shows it
        ends[0][joint] = low[component] * group.position.factor
        ends[1][joint] = high[component] * group.position.factor
    return ends


def _ended(
    key: str,
    group: JointLimits,
    action_low: Array,
    action_high: Array,
    box: tuple[Array, Array],
) -> JointLimits:
    assert group.command is not None
    part, factor = group.command.part, group.command.factor
    range_low, range_high = action_low[part] * factor, action_high[part] * factor
    wraps = np.zeros(len(group.names), dtype=bool)
    crosses = wraps
    if group.wrapping is not None and group.targets is not None:
        wraps, crosses = group.wrapping.wraps, group.targets.crosses
    nowhere = ~wraps & (
        np.maximum(np.maximum(range_low, group.low), box[0])
        > np.minimum(np.minimum(range_high, group.high), box[1])
    )
    if nowhere.any():
        index = int(np.argmax(nowhere))
        raise LimitsError(
            f"{key}: joint {group.names[index]!r} has no place to be told: its range is "
            f"[{range_low[index]:g}, {range_high[index]:g}], its position's "
            f"[{group.low[index]:g}, {group.high[index]:g}], its box "
            f"[{box[0][index]:g}, {box[1][index]:g}] rad or m"
        )
    # Where a joint may stop in a period, clamping to the range is all there is to do.
    braked = np.isfinite(group.max_acceleration) & ~crosses
    low = np.maximum(np.where(braked, range_low, -np.inf), box[0])
    high = np.minimum(np.where(braked, range_high, np.inf), box[1])
    if not (np.isfinite(low) | np.isfinite(high)).any():
        return group
    return replace(group, reach=(low, high))
