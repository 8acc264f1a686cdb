"""The action that leaves a robot where it is, as far as anybody has said what its actions do.

Pure functions of limits and observation. It must not know drivers, and never guesses: a position
of 0 is a motion, and an effort of 0 lets an arm fall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.safety.limits import ROUNDING, Limits, staying
from fieldtune.robot.safety.units import UNITS

Array = NDArray[np.float64]


class NotStill(Exception):
    """Nothing that may be commanded leaves the robot where it is. The message says why."""


class StillActionUnknown(NotStill):
    """Nobody has said what would. The message says how to."""


def still_action(
    observation: Array,
    limits: Limits,
    fields: Sequence[FieldSpec],
    *,
    given: Mapping[str, Sequence[float]],
    simulated: bool = False,
) -> Array:
    """`(action,)`: observed positions where `robot.limits.joints` says that positions are
    commanded, 0 for a displacement or a velocity.

    Args:
        observation: checked, `(observation,)`.
        fields: of the action.
        given: a person's own values by action field; they come first.
        simulated: nothing can fall, so that whatever is not known is as near to 0 as it may be.

    Raises `StillActionUnknown` for a field that nothing tells about, `NotStill` for a value outside
    its range and for one in `given` that fits no field.
    """
    require_known(fields, given)
    action, unknown, at = staying(observation, limits), [], 0
    for field in fields:
        part = slice(at, at + field.width)
        at += field.width
        if field.name in given:
            action[part] = given[field.name]
        elif limits.moving[part].all():
            pass
        elif field.unit in UNITS["velocity"]:
            action[part] = 0.0
        elif simulated:
            action[part] = np.clip(0.0, limits.low[part], limits.high[part])
        else:
            unknown.append(field.name)
    if unknown:
        raise StillActionUnknown(
            f"nothing says which {', '.join(unknown)} leaves the robot where it is: say what it "
            "commands in robot.limits.joints (docs/safety.md), or give the value yourself: "
            f"--still {unknown[0]}=VALUE. An effort of 0 lets an arm fall: support it"
        )
    _require_inside(action, limits)
    return action


def require_known(fields: Sequence[FieldSpec], given: Mapping[str, Sequence[float]]) -> None:
    """Raise `NotStill` for a name or a number of values that the action does not have."""
    widths = {field.name: field.width for field in fields}
    for name, values in given.items():
        if name not in widths:
            raise NotStill(f"--still {name}: no such action field; known: {', '.join(widths)}")
        if len(values) not in (1, widths[name]):
            raise NotStill(f"--still {name}: {len(values)} numbers, expected 1 or {widths[name]}")


def _require_inside(action: Array, limits: Limits) -> None:
    slack = ROUNDING * (limits.high - limits.low)
    outside = ~((action >= limits.low - slack) & (action <= limits.high + slack))
    if outside.any():
        index = int(np.argmax(outside))
        raise NotStill(
            f"to stay where it is, {limits.action_names[index]} would have to be "
            f"{action[index]:g}, outside [{limits.low[index]:g}, {limits.high[index]:g}]: do "
            "observation and action have the same unit and zero, and does its range "
            "(robot.limits.action_range) hold it?"
        )
