"""Making the joints' limits: what the robot's model says, tightened by the config.

Knows the model, the config and the fields' units. It must not know how limits are applied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import CommandKind, JointsConfig, LimitsConfig, Loosenable
from fieldtune.robot.safety.build_wrapping import describe_wrapping, targets_of, wrapping_of
from fieldtune.robot.safety.joints import FAULT_MARGIN, JointLimits, Reading
from fieldtune.robot.safety.layout import Layout, LimitsError, unknown
from fieldtune.robot.safety.models.joint import JointModel
from fieldtune.robot.safety.models.read import read_model
from fieldtune.robot.safety.models.xml_tree import ModelError
from fieldtune.robot.safety.permits import Permits
from fieldtune.robot.safety.units import UNITS

Array = NDArray[np.float64]


def build_joints(
    config: LimitsConfig,
    observations: Layout,
    actions: Layout,
    permits: Permits,
    *,
    action_low: Array,
    action_high: Array,
    period_s: float,
) -> tuple[JointLimits, ...]:
    """One `JointLimits` for each group of `config.joints`.

    Args:
        action_low: with `action_high`, what is left of the actions' ranges: `(action,)`.

    Raises:
        LimitsError: a bad model, an unknown joint or field, a wrong width or unit, a limit looser
            than the model's that is not permitted, or joints that may turn the wrong way round.
    """
    key = "robot.limits"
    known = [name for group in config.joints for name in group.names]
    for rule in ("joint_position", "joint_velocity", "joint_acceleration", "joint_effort"):
        for name in getattr(config, rule):
            if name not in known:
                raise unknown(f"{key}.{rule}", "joint of robot.limits.joints", name, known)
    if len(set(known)) != len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise LimitsError(f"{key}.joints: {twice!r} appears twice")
    if config.model is None:
        model = None
    elif not config.joints:
        raise LimitsError(
            f"{key}.model is given, but no {key}.joints: say which fields its joints are"
        )
    else:
        try:
            model = read_model(config.model)
        except ModelError as error:
            raise LimitsError(f"{key}.model: {error}") from error
    groups = []
    for index, group in enumerate(config.joints):
        each = f"{key}.joints[{index}]"
        built = _group(each, group, config, permits, model, observations, actions)
        wrapping = wrapping_of(each, group, built, observations, model is not None)
        if wrapping is not None:
            built = replace(
                built,
                wrapping=wrapping,
                targets=targets_of(
                    each, group, built, wrapping, observations, action_low, action_high
                ),
                fastest_seen=math.pi / period_s,
            )
        groups.append(built)
    return tuple(groups)


def describe_joints(groups: Iterable[JointLimits]) -> list[str]:
    """One line for each joint, and one for each limit that nothing here can check."""
    lines = []
    for group in groups:
        for index, name in enumerate(group.names):
            said = _finite(
                ("position in", group.low[index], group.high[index]),
                ("velocity at most", group.max_velocity[index]),
                ("acceleration at most", group.max_acceleration[index]),
                ("effort in", group.effort_low[index], group.effort_high[index]),
            )
            said = [*said, *filter(None, [describe_wrapping(index, group)])]
            lines.append(f"limit joint {name}: {', '.join(said) or 'none'}")
        lines += [
            f"limit joint {what} of {group.names[0]}, ... NOT CHECKED: no field shows it "
            f"(robot.limits.joints)"
            for what in _unchecked(group)
        ]
    return lines


def held_by_joints(groups: Iterable[JointLimits], size: int) -> NDArray[np.bool_]:
    """Which of an observation's `size` components a joint's limits bound on both sides."""
    held = np.zeros(size, dtype=bool)
    for group in groups:
        for what in ("position", "velocity", "effort"):
            reading = getattr(group, what)
            if reading is not None:
                held[reading.part] |= np.isfinite(group.faults[what]).all(axis=0)
    return held


def _finite(*rules: tuple[str, float] | tuple[str, float, float]) -> Iterable[str]:
    for what, *values in rules:
        if np.isfinite(values).any():
            text = f"{values[0]:g}" if len(values) == 1 else f"[{values[0]:g}, {values[1]:g}]"
            yield f"{what} {text}"


def _unchecked(group: JointLimits) -> Iterable[str]:
    pushed = group.kind is CommandKind.EFFORT
    most = group.max_velocity[np.isfinite(group.max_velocity)]
    # In a period a joint must not get so far that the short way is the other one.
    told = ((1 + FAULT_MARGIN) * most < group.fastest_seen).all()
    seen = {
        "position": group.position is not None,
        "velocity": group.moves
        or group.velocity is not None
        or (group.position is not None and told),
        "acceleration": group.moves or group.velocity is not None,
        "effort": pushed or group.effort is not None,
    }
    limited = {
        "position": np.isfinite([group.low, group.high]).any(),
        "velocity": np.isfinite(group.max_velocity).any(),
        "acceleration": np.isfinite(group.max_acceleration).any(),
        "effort": np.isfinite([group.effort_low, group.effort_high]).any(),
    }
    return [what for what, there in limited.items() if there and not seen[what]]


def _group(
    key: str,
    group: JointsConfig,
    config: LimitsConfig,
    permits: Permits,
    model: dict[str, JointModel] | None,
    observations: Layout,
    actions: Layout,
) -> JointLimits:
    joints = []
    for name in group.names:
        if model is not None and name not in model:
            raise unknown(f"{key}.names", f"joint of {config.model}", name, model)
        joint = JointModel(name, True) if model is None else model[name]
        joints.append(_tightened(joint, config, permits))
    turns = None if model is None else {joint.rotates for joint in joints}
    if (group.command is None) != (group.command_kind is None):
        raise LimitsError(f"{key}: command and command_kind belong together: give both or neither")
    if group.command_kind is CommandKind.POSITION and group.position is None:
        raise LimitsError(
            f"{key}.position: positions are commanded, so the field that shows them is needed: the "
            "first command of an episode is compared with it"
        )

    def reading(quantity: str, key: str, layout: Layout, name: str | None) -> Reading | None:
        return None if name is None else _reading(quantity, key, layout, name, group, turns)

    kind = group.command_kind
    commanded = "position" if kind is CommandKind.DISPLACEMENT else str(kind)
    return JointLimits(
        names=group.names,
        low=np.array([joint.low for joint in joints]),
        high=np.array([joint.high for joint in joints]),
        max_velocity=np.array([joint.velocity for joint in joints]),
        max_acceleration=np.array(
            [config.joint_acceleration.get(name, math.inf) for name in group.names]
        ),
        effort_low=np.array([joint.effort_low for joint in joints]),
        effort_high=np.array([joint.effort_high for joint in joints]),
        position=reading("position", f"{key}.position", observations, group.position),
        velocity=reading("velocity", f"{key}.velocity", observations, group.velocity),
        effort=reading("effort", f"{key}.effort", observations, group.effort),
        command=reading(commanded, f"{key}.command", actions, group.command),
        kind=kind,
    )


def _tightened(joint: JointModel, config: LimitsConfig, permits: Permits) -> JointModel:
    """The config's limits in the place of the model's, where they are tighter or permitted."""
    name, whose = joint.name, "the model says"
    if name in config.joint_position:
        low, high = config.joint_position[name]
        key = f"joint_position.{name}"
        if not low < high:
            raise LimitsError(f"robot.limits.{key} is [{low}, {high}]: expected the lower first")
        permits.require(Loosenable.JOINT_POSITION, key, (low, high), (joint.low, joint.high), whose)
        joint = replace(joint, low=low, high=high)
    if name in config.joint_velocity:
        most, allowed = config.joint_velocity[name], (0.0, joint.velocity)
        key = f"joint_velocity.{name}"
        permits.require(Loosenable.JOINT_VELOCITY, key, (0.0, most), allowed, whose)
        joint = replace(joint, velocity=most)
    if name in config.joint_effort:
        most, low, high = config.joint_effort[name], joint.effort_low, joint.effort_high
        key, allowed = f"joint_effort.{name}", (0.0, max(-low, high))
        if not permits.require(Loosenable.JOINT_EFFORT, key, (0.0, most), allowed, whose):
            joint = replace(joint, effort_low=max(low, -most), effort_high=min(high, most))
        else:
            joint = replace(joint, effort_low=-most, effort_high=most)
    return joint


def _reading(
    quantity: str,
    key: str,
    layout: Layout,
    name: str,
    group: JointsConfig,
    turns: set[bool] | None,
) -> Reading:
    part = layout.find(key.removeprefix("robot.limits."), name)
    width = part.stop - part.start
    if width != len(group.names):
        raise LimitsError(
            f"{key}: {name!r} is {width} wide, the group has {len(group.names)} joints"
        )
    unit, known = layout.units[name], UNITS[quantity]
    if unit not in known:
        raise LimitsError(
            f"{key}: {name!r} is in {unit!r}: expected one of {', '.join(map(repr, known))}"
        )
    rotates, factor = known[unit]
    if turns is not None and turns != {rotates}:
        raise LimitsError(
            f"{key}: {name!r} is in {unit!r}, which fits joints that "
            f"{'rotate' if rotates else 'slide'}, and {', '.join(group.names)} do not all"
        )
    return Reading(part, factor)
