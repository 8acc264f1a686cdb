"""Making the limits: the robot's fields and the bundle's, tightened by the config, never loosened.

Knows field specifications and the config. It must not know how limits are applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import LATE_FRACTION, BoxConfig, LimitsConfig, Loosenable
from fieldtune.robot.safety.build_joints import build_joints, describe_joints, held_by_joints
from fieldtune.robot.safety.build_reach import require_meaning, within_reach
from fieldtune.robot.safety.joints import FAULT_MARGIN
from fieldtune.robot.safety.layout import Layout, LimitsError, bounds
from fieldtune.robot.safety.limits import Limits
from fieldtune.robot.safety.permits import Permits
from fieldtune.robot.safety.plausible import FARTHEST, plausible

Array = NDArray[np.float64]

AGE_PERIODS = 10


def build_limits(
    config: LimitsConfig,
    *,
    observation_fields: Sequence[FieldSpec],
    robot_action_fields: Sequence[FieldSpec],
    policy_action_fields: Sequence[FieldSpec],
    period_s: float,
    observation_seen: Sequence[FieldSpec] | None = None,
) -> Limits:
    """The limits for one bundle on one robot, whose fields are the same by name, order and width.

    Args:
        observation_seen: the range of the bundle's training data by observation field; None where
            the bundle does not say.

    Raises:
        LimitsError: an unknown field or joint, a wrong width or unit, a bad model, a limit looser
            than the robot's own that is not permitted, or limits that leave nothing that may be
            commanded.
    """
    observations = Layout("observation", observation_fields)
    actions = Layout("action", robot_action_fields)
    policy_low, policy_high = bounds(policy_action_fields)
    low = np.maximum(actions.low, policy_low)
    high = np.minimum(actions.high, policy_high)
    for name, (lower, upper) in config.action_range.items():
        key, part = f"robot.limits.action_range.{name}", actions.find("action_range", name)
        if not lower < upper:
            raise LimitsError(f"{key} is [{lower}, {upper}]: expected the lower bound first")
        if (lower < low[part]).any() or (upper > high[part]).any():
            raise LimitsError(
                f"{key} is [{lower}, {upper}], wider than the robot's "
                f"[{low[part].max():g}, {high[part].min():g}]: limits can only be tightened"
            )
        low[part], high[part] = lower, upper
    if not (low <= high).all():
        index = int(np.argmax(low > high))
        raise LimitsError(
            f"action {actions.names[index]}: robot and bundle have no common range: "
            "export for this robot"
        )
    rate = np.full(len(low), np.inf)
    for name, value in config.action_rate.items():
        rate[actions.find("action_rate", name)] = value
    box = _Box(observations)
    for name, wanted in config.box.items():
        box.add(name, wanted, actions)
    permits = Permits(config.loosen)
    joints = build_joints(
        config,
        observations,
        actions,
        permits,
        action_low=low,
        action_high=high,
        period_s=period_s,
    )
    require_meaning(config.box, joints, actions, low, high)
    joints = within_reach(
        joints,
        action_low=low,
        action_high=high,
        rate=rate,
        box_low=box.low,
        box_high=box.high,
        box_action=box.action,
    )
    age_s = _age(config.observation_age_s, period_s, permits)
    late_fraction = _late_fraction(config.late_fraction, permits)
    permits.require_all_used()
    span = observations.high - observations.low
    margin = np.where(np.isfinite(span), FAULT_MARGIN * span, 0.0)
    own_low = np.maximum(observations.low - margin, box.fault_low)
    own_high = np.minimum(observations.high + margin, box.fault_high)
    likely_low, likely_high = plausible(observation_fields, observation_seen)
    # The data's range is for what neither the robot nor a person bounds.
    likely_low = np.where(np.isfinite(own_low), own_low, likely_low)
    likely_high = np.where(np.isfinite(own_high), own_high, likely_high)
    return Limits(
        action_names=actions.names,
        range_low=policy_low,
        range_high=policy_high,
        low=low,
        high=high,
        rate=rate,
        observation_names=observations.names,
        fault_low=np.maximum(likely_low, -FARTHEST),
        fault_high=np.minimum(likely_high, FARTHEST),
        own_low=np.maximum(own_low, -FARTHEST),
        own_high=np.minimum(own_high, FARTHEST),
        box_low=box.low,
        box_high=box.high,
        box_action=box.action,
        observation_age_s=age_s,
        frozen_periods=config.frozen_periods,
        joints=joints,
        loosened=tuple(permits.used),
        late_fraction=late_fraction,
    )


def describe(limits: Limits, max_run_s: float | None) -> list[str]:
    """One line for each limit, to be shown before anything moves."""
    lines = [
        f"limit action {name} in [{low:g}, {high:g}]"
        + (f", changes by at most {rate:g} a second" if np.isfinite(rate) else "")
        for name, low, high, rate in zip(
            limits.action_names, limits.low, limits.high, limits.rate, strict=True
        )
    ]
    lines += [
        f"limit action {name}, the rate of an episode's first command: NOT CHECKED "
        "(robot.limits.joints does not say what it commands)"
        for name, rate, first in zip(
            limits.action_names, limits.rate, limits.first_rate, strict=True
        )
        if np.isfinite(rate) and not np.isfinite(first)
    ]
    lines += _describe_unknown_places(limits)
    for index, name in enumerate(limits.observation_names):
        low, high = limits.own_low[index], limits.own_high[index]
        if low > -FARTHEST or high < FARTHEST:
            lines.append(f"limit observation {name} in [{low:g}, {high:g}], else fault")
        if limits.box_action[index] >= 0:
            pushed = limits.action_names[limits.box_action[index]]
            low, high = limits.box_low[index], limits.box_high[index]
            lines.append(f"limit observation {name} in [{low:g}, {high:g}], held by {pushed}")
    lines += _describe_plausible(limits)
    lines += describe_joints(limits.joints)
    lines.append(f"limit observation age {limits.observation_age_s:g} s, else fault")
    lines.append(f"limit control periods left out {limits.late_fraction:.0%}, else fault")
    frozen = limits.frozen_periods
    lines.append(
        "limit observation the same to the last bit: "
        + (f"{frozen} periods, else fault" if frozen else "none (limits.frozen_periods)")
    )
    lines.append("limit run " + (f"{max_run_s:g} s" if max_run_s else "none (limits.max_run_s)"))
    return [*lines, *limits.loosened]


def _describe_unknown_places(limits: Limits) -> list[str]:
    """One line for each action of which a part of the policy's range is left: the robot may stand
    in the other part, where the action says a place."""
    explained = np.zeros(len(limits.low), dtype=bool)
    for joints in limits.joints:
        if joints.command is not None:
            explained[joints.command.part] = True
    narrowed = (limits.low > limits.range_low) | (limits.high < limits.range_high)
    return [
        f"limit action {name}, whether the robot stands within its range: NOT CHECKED "
        "(robot.limits.joints does not say what it commands)"
        for name, doubtful in zip(limits.action_names, narrowed & ~explained, strict=True)
        if doubtful
    ]


def _describe_plausible(limits: Limits) -> list[str]:
    """Where training alone bounds observations, and where nothing does: one line for each run of
    components of one field."""
    bounded = held_by_joints(limits.joints, len(limits.observation_names))
    runs: dict[tuple[str, str], list[str]] = {}
    for index, name in enumerate(limits.observation_names):
        low, high = limits.fault_low[index], limits.fault_high[index]
        if low > limits.own_low[index] or high < limits.own_high[index]:
            said = f"in [{low:g}, {high:g}], else fault: ten times what training saw"
        elif (low == -FARTHEST or high == FARTHEST) and not bounded[index]:
            said = "NOT CHECKED: bounded by no driver, model, bundle or robot.limits.box"
        else:
            continue
        runs.setdefault((name.partition("[")[0], said), []).append(name)
    return [
        f"limit observation {' to '.join(dict.fromkeys((names[0], names[-1])))} {said}"
        for (_, said), names in runs.items()
    ]


class _Box:
    """The config's boxes, spread over the observation's components."""

    def __init__(self, observations: Layout) -> None:
        size = len(observations.names)
        self._observations = observations
        self.low, self.high = np.full(size, -np.inf), np.full(size, np.inf)
        self.fault_low, self.fault_high = np.full(size, -np.inf), np.full(size, np.inf)
        self.action = np.full(size, -1, dtype=np.int64)

    def add(self, name: str, box: BoxConfig, actions: Layout) -> None:
        key, part = f"robot.limits.box.{name}", self._observations.find("box", name)
        width = part.stop - part.start
        if len(box.low) != width or len(box.high) != width:
            raise LimitsError(
                f"{key} has {len(box.low)} lower and {len(box.high)} upper bounds, "
                f"the field is {width} wide"
            )
        lower = np.array([-np.inf if value is None else value for value in box.low])
        upper = np.array([np.inf if value is None else value for value in box.high])
        if not (lower < upper).all():
            raise LimitsError(f"{key}: low {box.low} is not below high {box.high}")
        if box.action is None:
            self.fault_low[part], self.fault_high[part] = lower, upper
            return
        pushed = actions.find(f"box.{name}.action", box.action)
        if pushed.stop - pushed.start != width:
            raise LimitsError(
                f"{key}.action: {box.action!r} is {pushed.stop - pushed.start} wide, "
                f"the field is {width} wide: they must match by component"
            )
        self.low[part], self.high[part] = lower, upper
        self.action[part] = np.arange(pushed.start, pushed.stop)


def _age(wanted: float | None, period_s: float, permits: Permits) -> float:
    most, key = AGE_PERIODS * period_s, Loosenable.OBSERVATION_AGE_S
    if wanted is None:
        return most
    permits.require(key, key, (0.0, wanted), (0.0, most), f"{AGE_PERIODS} control periods are")
    return wanted


def _late_fraction(wanted: float, permits: Permits) -> float:
    key = Loosenable.LATE_FRACTION
    permits.require(key, key, (0.0, wanted), (0.0, LATE_FRACTION), "without a reason at most")
    return wanted
