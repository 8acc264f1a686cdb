"""Joint limits from URDF: `<limit>`, and `<safety_controller>` where it is tighter.

Source: the URDF joint element, http://wiki.ros.org/urdf/XML/joint. Knows nothing else of URDF.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element

from fieldtune.robot.safety.models.joint import JointModel, numbers
from fieldtune.robot.safety.models.xml_tree import ModelError

_TURNS = {"revolute": True, "continuous": True, "prismatic": False}


def urdf_joints(root: Element, path: Path) -> dict[str, JointModel]:
    """Every revolute, continuous and prismatic joint, by name. Raises `ModelError`."""
    joints: dict[str, JointModel] = {}
    for joint in root.findall("joint"):
        kind, name = joint.get("type", ""), joint.get("name", "")
        if kind not in _TURNS:
            continue
        key = f"{path}: joint {name!r}"
        if not name or name in joints:
            raise ModelError(f"{key}: expected a name of its own")
        joints[name] = _joint(joint, kind, name, key)
    return joints


def _joint(joint: Element, kind: str, name: str, key: str) -> JointModel:
    limit = joint.find("limit")
    if limit is None:
        if kind != "continuous":
            raise ModelError(f"{key}: a {kind} joint without <limit>: expected one")
        return JointModel(name, rotates=True)
    low, high = -math.inf, math.inf
    if kind != "continuous":
        # URDF's own default for an absent bound is 0.
        low = max(_number(limit, "lower", 0.0, key), _soft(joint, "soft_lower_limit", low, key))
        high = min(_number(limit, "upper", 0.0, key), _soft(joint, "soft_upper_limit", high, key))
        if not low <= high:
            raise ModelError(f"{key}: [{low}, {high}] is not a range")
    velocity = _number(limit, "velocity", math.inf, key)
    effort = _number(limit, "effort", math.inf, key)
    if velocity < 0 or effort < 0:
        raise ModelError(f"{key}: velocity {velocity}, effort {effort}: expected none below 0")
    return JointModel(name, _TURNS[kind], low, high, velocity, -effort, effort)


def _soft(joint: Element, attribute: str, default: float, key: str) -> float:
    controller = joint.find("safety_controller")
    return default if controller is None else _number(controller, attribute, default, key)


def _number(element: Element, attribute: str, default: float, key: str) -> float:
    text = element.get(attribute)
    return default if text is None else numbers(text, f"{key}, {element.tag} {attribute}", 1)[0]
