"""Limits as a file, for programs in other languages: servers/cpp applies them.

Holds the file's form. It must not know how limits are made or applied.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.safety.joints import JointLimits, Reading
from fieldtune.robot.safety.layout import LimitsError
from fieldtune.robot.safety.limits import Limits

VERSION = 1


def written(limits: Limits, period_s: float) -> str:
    """JSON with all that the rules need; infinity is the string "Infinity", as in a manifest.

    Args:
        limits: of one bundle on one robot.
        period_s: the control period that they are applied at.

    Raises:
        LimitsError: limits that only the daemon applies.
    """
    for joints in limits.joints:
        if joints.wrapping is not None or joints.targets is not None:
            raise LimitsError(
                f"joints {', '.join(joints.names)}: some of them wrap, and the C++ library has no "
                "rule for that: run the daemon, or give them ends in robot.limits.joints"
            )
    if limits.target_boxes:
        name = limits.observation_names[limits.target_boxes[0].index]
        raise LimitsError(
            f"robot.limits.box: {name} holds an action that says where a joint is to be, and the "
            "C++ library has no rule for that: run the daemon, or leave out the box's action"
        )
    held = dict(limits.boxes)
    content = {
        "version": VERSION,
        "period_s": period_s,
        "action_names": list(limits.action_names),
        "observation_names": list(limits.observation_names),
        **{name: _numbers(getattr(limits, name)) for name in _ARRAYS},
        "box_action": [held.get(index, -1) for index in range(len(limits.observation_names))],
        "observation_age_s": limits.observation_age_s,
        "frozen_periods": limits.frozen_periods,
        "joints": [_joints(joints) for joints in limits.joints],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


_ARRAYS = (
    *("range_low", "range_high", "low", "high", "rate"),
    *("fault_low", "fault_high", "box_low", "box_high"),
)
_OF_JOINTS = ("low", "high", "max_velocity", "max_acceleration", "effort_low", "effort_high")


def _joints(joints: JointLimits) -> dict[str, Any]:
    reach = joints.reach
    return {
        "names": list(joints.names),
        **{name: _numbers(getattr(joints, name)) for name in _OF_JOINTS},
        "reach_low": None if reach is None else _numbers(reach[0]),
        "reach_high": None if reach is None else _numbers(reach[1]),
        "position": _reading(joints.position),
        "velocity": _reading(joints.velocity),
        "effort": _reading(joints.effort),
        "command": _reading(joints.command),
        "kind": None if joints.kind is None else joints.kind.value,
    }


def _reading(reading: Reading | None) -> dict[str, float] | None:
    if reading is None:
        return None
    return {"start": reading.part.start, "factor": reading.factor}


def _numbers(values: NDArray[np.float64]) -> list[float | str]:
    return [
        value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
        for value in np.asarray(values, dtype=np.float64).tolist()
    ]
