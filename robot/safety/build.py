"""Making the limits: the robot's fields and the bundle's, tightened by the config, never loosened.

Knows field specifications and the config. It must not know how limits are applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from export.manifest import FieldSpec
from robot.config import BoxConfig, LimitsConfig
from robot.safety.limits import Limits

Array = NDArray[np.float64]

FAULT_MARGIN = 0.05  # of a field's range: simulated and real joints rest a little past their stops
AGE_PERIODS = 10


class LimitsError(Exception):
    """Limits that contradict the robot or the bundle. Names the key, the value and the cure."""


def build_limits(
    config: LimitsConfig,
    *,
    observation_fields: Sequence[FieldSpec],
    robot_action_fields: Sequence[FieldSpec],
    policy_action_fields: Sequence[FieldSpec],
    period_s: float,
) -> Limits:
    """The limits for one bundle on one robot, whose fields are the same by name, order and width.

    Raises:
        LimitsError: an unknown field, a wrong width, or a limit looser than the robot's own.
    """
    observations = _Layout("observation", observation_fields)
    actions = _Layout("action", robot_action_fields)
    policy_low, policy_high = _bounds(policy_action_fields)
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
        box.add(name, wanted, actions, low, high)
    span = observations.high - observations.low
    margin = np.where(np.isfinite(span), FAULT_MARGIN * span, 0.0)
    return Limits(
        action_names=actions.names,
        range_low=policy_low,
        range_high=policy_high,
        low=low,
        high=high,
        rate=rate,
        observation_names=observations.names,
        fault_low=np.maximum(observations.low - margin, box.fault_low),
        fault_high=np.minimum(observations.high + margin, box.fault_high),
        box_low=box.low,
        box_high=box.high,
        box_action=box.action,
        observation_age_s=_age(config.observation_age_s, period_s),
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
    for index, name in enumerate(limits.observation_names):
        if np.isfinite([limits.fault_low[index], limits.fault_high[index]]).any():
            low, high = limits.fault_low[index], limits.fault_high[index]
            lines.append(f"limit observation {name} in [{low:g}, {high:g}], else fault")
        if limits.box_action[index] >= 0:
            pushed = limits.action_names[limits.box_action[index]]
            low, high = limits.box_low[index], limits.box_high[index]
            lines.append(f"limit observation {name} in [{low:g}, {high:g}], held by {pushed}")
    lines.append(f"limit observation age {limits.observation_age_s:g} s, else fault")
    lines.append("limit run " + (f"{max_run_s:g} s" if max_run_s else "none (limits.max_run_s)"))
    return lines


class _Layout:
    """Where each field's components are in a vector."""

    def __init__(self, kind: str, fields: Sequence[FieldSpec]) -> None:
        self.kind = kind
        self.names = tuple(_component_names(fields))
        self.low, self.high = _bounds(fields)
        self._parts: dict[str, slice] = {}
        start = 0
        for field in fields:
            self._parts[field.name] = slice(start, start + field.width)
            start += field.width

    def find(self, rule: str, name: str) -> slice:
        """The components of field `name`, wanted by the config's `rule`."""
        if name in self._parts:
            return self._parts[name]
        near = get_close_matches(name, self._parts, n=1, cutoff=0.5)
        known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self._parts)}"
        raise LimitsError(f"robot.limits.{rule}: unknown {self.kind} field {name!r}: {known}")


class _Box:
    """The config's boxes, spread over the observation's components."""

    def __init__(self, observations: _Layout) -> None:
        size = len(observations.names)
        self._observations = observations
        self.low, self.high = np.full(size, -np.inf), np.full(size, np.inf)
        self.fault_low, self.fault_high = np.full(size, -np.inf), np.full(size, np.inf)
        self.action = np.full(size, -1, dtype=np.int64)

    def add(self, name: str, box: BoxConfig, actions: _Layout, low: Array, high: Array) -> None:
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
        if (low[pushed] > 0).any() or (high[pushed] < 0).any():
            raise LimitsError(
                f"{key}.action: {box.action!r} cannot be 0 in its range, so it cannot stop motion"
            )
        self.low[part], self.high[part] = lower, upper
        self.action[part] = np.arange(pushed.start, pushed.stop)


def _age(wanted: float | None, period_s: float) -> float:
    most = AGE_PERIODS * period_s
    if wanted is not None and wanted > most:
        raise LimitsError(
            f"robot.limits.observation_age_s is {wanted}, more than {AGE_PERIODS} control periods "
            f"({most:g} s): limits can only be tightened"
        )
    return most if wanted is None else wanted


def _bounds(fields: Sequence[FieldSpec]) -> tuple[Array, Array]:
    low = np.array([value for field in fields for value in field.low])
    high = np.array([value for field in fields for value in field.high])
    return low, high


def _component_names(fields: Sequence[FieldSpec]) -> Iterable[str]:
    for field in fields:
        if field.width == 1:
            yield field.name
        else:
            yield from (f"{field.name}[{index}]" for index in range(field.width))
