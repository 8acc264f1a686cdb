"""Commands that say where to be: range and box bound the place, and never make a joint jump there.

Pure functions. Where a joint stands outside of what it may be told, there is no command that leaves
it alone: then nothing is commanded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.safety.fault import LimitFault
from fieldtune.robot.safety.joints import FAULT_MARGIN, JointLimits, start_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TargetBox:
    """Bounds of one component of an observation, held by the target of one joint.

    `index` is the observation's component and `action` the action's; `joint` is which of the group
    `joints`. `rate` is the action's largest change a second.
    """

    index: int
    action: int
    low: float
    high: float
    joints: JointLimits
    joint: int
    rate: float


def require_in_range(
    observation: Array,
    groups: Iterable[JointLimits],
    low: Array,
    high: Array,
    rate: Array,
    period_s: float,
) -> None:
    """Raise `LimitFault` where a joint stands so far outside the range of its target that the first
    command would move it faster than it may go.

    Without a rate or a velocity, further than a sensor's error. Args: `low`, `high` and `rate` of
    actions, `(action,)`.
    """
    for joints in groups:
        if not joints.told_where or joints.command is None:
            continue
        part, factor = joints.command.part, joints.command.factor
        here = start_of(None, observation, joints) / factor
        away = np.maximum(low[part] - here, here - high[part])
        if joints.targets is not None:
            away = np.where(joints.targets.crosses, 0.0, away)
        step = np.minimum(rate[part], joints.max_velocity / factor) * period_s
        step = np.where(np.isfinite(step), step, FAULT_MARGIN * (high[part] - low[part]))
        if (away > step).any():
            index = int(np.argmax(away - step))
            raise LimitFault(
                f"joint {joints.names[index]} stands at {here[index]:g}, and may only be told "
                f"{low[part][index]:g} to {high[part][index]:g}: it would jump by {away[index]:g} "
                "in one period: bring it there by hand, home it there, or let the range of the "
                "action (robot.limits.action_range) hold where it stands"
            )


def lead_back(
    action: Array,
    previous: Array | None,
    observation: Array,
    boxes: Iterable[TargetBox],
    period_s: float,
) -> Array:
    """The action whose targets lead no further out where a box is reached.

    That is no further than where the joint stands, nor than it was told before, as soon as the
    target can be taken back under rate and velocity.
    """
    led = action
    for box in boxes:
        up, down = observation[box.index] >= box.high, observation[box.index] <= box.low
        if not (up or down):
            continue
        joints, joint = box.joints, box.joint
        assert joints.command is not None
        assert joints.position is not None  # build_joints requires it
        factor = joints.command.factor
        start = start_of(previous, observation, joints)
        back = joints.way(joints.position.of(observation), start)[joint] / factor
        step = min(box.rate, joints.max_velocity[joint] / factor) * period_s
        back = min(max(back, -step), step)
        limit = start[joint] / factor + (min(back, 0.0) if up else max(back, 0.0))
        if led is action:
            led = action.copy()
        led[box.action] = min(led[box.action], limit) if up else max(led[box.action], limit)
    return led
