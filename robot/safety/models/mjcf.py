"""Joint limits from MJCF: ranges of joints, and what their actuators can push.

Source: MuJoCo's XML reference (compiler, default, joint, actuator). MJCF has no velocity limits.
Knows nothing else of MJCF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from fieldtune.robot.safety.models.joint import JointModel, numbers
from fieldtune.robot.safety.models.xml_tree import ModelError, read_tree

MAX_FILES = 64
_ACTUATORS = ("general", "motor", "position", "velocity", "intvelocity", "damper", "cylinder")
# What these shortcuts mean in terms of `general`; a shortcut overrules inherited values of these.
_SHAPE = ("gaintype", "biastype", "dyntype", "gainprm")
_ALSO_RULES = ("frame", "body")

Attributes = dict[str, str]


def mjcf_joints(root: Element, path: Path) -> dict[str, JointModel]:
    """Every named hinge and slide, by name.

    The effort of a joint is what all its actuators can give together, where each is bounded, and
    no more than its own `actuatorfrcrange`. Raises `ModelError`.
    """
    _include(root, path)
    compiler: Attributes = {}
    for element in root.findall("compiler"):
        compiler |= element.attrib
    defaults = _Defaults(root, path)
    joints: dict[str, JointModel] = {}
    for element, childclass in _joint_elements(root):
        given = defaults.over("joint", element, childclass)
        name, kind = element.get("name"), given.get("type", "hinge")
        if name is None or kind not in ("hinge", "slide"):
            continue
        key = f"{path}: joint {name!r}"
        if name in joints:
            raise ModelError(f"{key} appears twice: expected a name of its own")
        joints[name] = _joint(name, kind == "hinge", given, compiler, key)
    return _with_actuators(joints, root, defaults, compiler, path)


def _joint(
    name: str, rotates: bool, given: Attributes, compiler: Attributes, key: str
) -> JointModel:
    low, high = _range(given, "range", "limited", compiler, key)
    if rotates and compiler.get("angle", "degree") == "degree":
        low, high = math.radians(low), math.radians(high)
    weakest, strongest = _range(given, "actuatorfrcrange", "actuatorfrclimited", compiler, key)
    return JointModel(name, rotates, low, high, math.inf, weakest, strongest)


def _with_actuators(
    joints: dict[str, JointModel],
    root: Element,
    defaults: _Defaults,
    compiler: Attributes,
    path: Path,
) -> dict[str, JointModel]:
    total: dict[str, tuple[float, float]] = {}
    for element in (each for section in root.findall("actuator") for each in section):
        name = element.get("joint", element.get("jointinparent"))
        if name not in joints:
            continue
        key = f"{path}: actuator {element.get('name', '')!r} of joint {name!r}"
        low, high = _force(element, defaults.over("actuator", element, None), compiler, key)
        before = total.get(name, (0.0, 0.0))
        total[name] = (before[0] + low, before[1] + high)
    return joints | {
        name: replace(
            joints[name],
            effort_low=max(joints[name].effort_low, low),
            effort_high=min(joints[name].effort_high, high),
        )
        for name, (low, high) in total.items()
    }


def _force(
    element: Element, given: Attributes, compiler: Attributes, key: str
) -> tuple[float, float]:
    """What one actuator can do to its joint; infinite where its force is not bounded."""
    low, high = _range(given, "forcerange", "forcelimited", compiler, key)
    gain = _gain(element.tag, given, key)
    if gain is not None:
        least, most = _range(given, "ctrlrange", "ctrllimited", compiler, key)
        pushes = _scaled(least, most, gain)
        low, high = max(low, pushes[0]), min(high, pushes[1])
    gear = numbers(given.get("gear", "1"), f"{key}, gear", 1, 2, 3, 4, 5, 6)[0]
    return _scaled(low, high, gear)


def _gain(tag: str, given: Attributes, key: str) -> float | None:
    """Force by control, where force is a constant times control; else None."""
    if tag == "motor":
        return 1.0
    plain = {"gaintype": "fixed", "biastype": "none", "dyntype": "none"}
    if tag != "general" or any(given.get(name, value) != value for name, value in plain.items()):
        return None
    return numbers(given.get("gainprm", "1"), f"{key}, gainprm", *range(1, 11))[0]


def _scaled(low: float, high: float, factor: float) -> tuple[float, float]:
    if factor == 0:
        return 0.0, 0.0
    ends = (low * factor, high * factor)
    return min(ends), max(ends)


def _range(
    given: Attributes, name: str, switch: str, compiler: Attributes, key: str
) -> tuple[float, float]:
    """A range that holds, or an infinite one.

    `auto` follows from the range. With `autolimits="false"` MuJoCo refuses that; here it holds.
    """
    text, limited = given.get(name), given.get(switch, "auto")
    if limited not in ("true", "false", "auto"):
        raise ModelError(f"{key}: {switch} is {limited!r}: expected true, false or auto")
    if limited == "false" or (text is None and limited == "auto"):
        return -math.inf, math.inf
    if compiler.get("angle", "degree") not in ("degree", "radian"):
        raise ModelError(f"{key}: compiler angle {compiler['angle']!r}: expected degree or radian")
    low, high = numbers(text or "0 0", f"{key}, {name}", 2)
    if low < high:
        return low, high
    if low == high == 0 and limited == "auto":  # MuJoCo's own default, spelled out
        return -math.inf, math.inf
    raise ModelError(f"{key}: {name} [{low}, {high}] is not a range")


class _Defaults:
    """`<default>` classes, each with what it inherits. All actuators share one set of defaults."""

    def __init__(self, root: Element, path: Path) -> None:
        self._path = path
        self._classes: dict[str, dict[str, Attributes]] = {"main": {"joint": {}, "actuator": {}}}
        self._main = "main"
        for section in root.findall("default"):
            self._main = section.get("class", self._main)
            self._classes.setdefault(self._main, {"joint": {}, "actuator": {}})
            self._read(section, self._main)

    def over(self, kind: str, element: Element, childclass: str | None) -> Attributes:
        """An element's attributes over those of its class."""
        name = element.get("class", childclass) or self._main
        if name not in self._classes:
            raise ModelError(f"{self._path}: no default class {name!r} for <{element.tag}>")
        return _overlaid(self._classes[name][kind], element)

    def _read(self, section: Element, name: str) -> None:
        own = self._classes[name]
        for element in section:
            kind = "actuator" if element.tag in _ACTUATORS else element.tag
            if kind in own:
                own[kind] = _overlaid(own[kind], element)
        for child in section.findall("default"):
            inner = child.get("class")
            if not inner:
                raise ModelError(f"{self._path}: a <default> inside {name!r} without a class")
            self._classes[inner] = {kind: dict(values) for kind, values in own.items()}
            self._read(child, inner)


def _overlaid(below: Attributes, element: Element) -> Attributes:
    inherited = dict(below)
    if element.tag in _ACTUATORS and element.tag != "general":
        for name in _SHAPE:
            inherited.pop(name, None)
        if element.tag != "motor":
            inherited["biastype"] = "not none"
    return inherited | element.attrib


def _joint_elements(root: Element) -> Iterator[tuple[Element, str | None]]:
    """Joints with the class that their bodies give them. Copies made by <replicate> have no name
    that stands in the file, so they are left out."""
    waiting: list[tuple[Element, str | None]] = [(top, None) for top in root.findall("worldbody")]
    while waiting:
        parent, childclass = waiting.pop()
        for element in parent:
            if element.tag == "joint":
                yield element, childclass
            elif element.tag in _ALSO_RULES:
                waiting.append((element, element.get("childclass", childclass)))


def _include(root: Element, path: Path) -> None:
    """Put the children of included files where `<include>` stands; each file once, as MuJoCo."""
    seen: set[Path] = {path.resolve()}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        index = 0
        while index < len(parent):
            element = parent[index]
            if element.tag != "include":
                waiting.append(element)
                index += 1
                continue
            parent[index : index + 1] = list(_included(element, path, seen))


def _included(element: Element, path: Path, seen: set[Path]) -> Element:
    name = element.get("file", "")
    if not name or "\0" in name:
        raise ModelError(f"{path}: <include> without a file")
    target = (path.parent / name).resolve()
    if target in seen or len(seen) >= MAX_FILES:
        raise ModelError(f"{path}: includes {name!r} twice, or more than {MAX_FILES} files")
    seen.add(target)
    return read_tree(target)
