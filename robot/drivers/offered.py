"""What a driver offers while disconnected: its methods and properties, held against the protocol.

Looks once, when a driver is made, so that a mistake is found before anything moves. It must not
know what the methods do.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Driver, DriverFault
from fieldtune.robot.drivers.person import OPTIONAL, offered_besides

_METHODS: dict[str, tuple[str, ...]] = {
    "connect": (),
    "home": ("seed",),
    "read": (),
    "apply": ("action",),
    "hold": (),
    "close": (),
}


@dataclass(frozen=True)
class Offered:
    """A driver's properties, of the right types."""

    robot: str
    observation_fields: tuple[FieldSpec, ...]
    action_fields: tuple[FieldSpec, ...]
    period_s: float
    time_scale: float


def offered(driver: Driver, label: str) -> Offered:
    """Raises `DriverFault` naming what is missing or of a wrong kind, and `label`."""
    missing = [name for name in _METHODS if not callable(getattr(driver, name, None))]
    if missing:
        raise DriverFault(
            f"{label} has no method {', '.join(missing)}: a driver has {', '.join(_METHODS)} "
            "(docs/drivers.md)"
        )
    for name, arguments in _METHODS.items():
        _require_taking(driver, name, arguments, label)
    if hasattr(driver, "guided_action") and not hasattr(driver, "release"):
        raise DriverFault(
            f"{label} has guided_action() and no release(): to be guided by hand a driver lets the "
            "robot go too (docs/drivers.md)"
        )
    for name in offered_besides(driver):
        _require_taking(driver, name, OPTIONAL[name], label)
    return Offered(
        robot=_property(driver, "robot", _is_text, "the model's name", label),
        observation_fields=_fields(driver, "observation_fields", label),
        action_fields=_fields(driver, "action_fields", label),
        period_s=float(_property(driver, "period_s", _is_period, "seconds above 0", label)),
        time_scale=float(
            _property(driver, "time_scale", _is_scale, "1.0 for real hardware", label)
        ),
    )


def _require_taking(driver: Driver, name: str, arguments: tuple[str, ...], label: str) -> None:
    method = getattr(driver, name)
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(method):
        raise DriverFault(f"{label}.{name} is {method!r}, expected a method {wanted}")
    try:
        signature = inspect.signature(method)
    except ValueError:  # written in C, as some are
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise DriverFault(f"{label}.{name}{signature}: expected {wanted}: {error}") from None


def _fields(driver: Driver, name: str, label: str) -> tuple[FieldSpec, ...]:
    found = _property(
        driver,
        name,
        _are_fields,
        "a tuple of FieldSpec (fieldtune.export.manifest), not empty, each name once",
        label,
    )
    return tuple(found)


def _property(
    driver: Driver, name: str, sound: Callable[[Any], bool], expected: str, label: str
) -> Any:
    try:
        value = getattr(driver, name)
    except DriverFault:
        raise
    except AttributeError as error:
        raise DriverFault(f"{label} has no {name} ({error}): expected {expected}") from error
    except Exception as error:
        raise DriverFault(f"{label}.{name} raised {type(error).__name__}: {error}") from error
    if not sound(value):
        shown = "a method: make it a property" if callable(value) else repr(value)[:200]
        raise DriverFault(f"{label}.{name} is {shown}, expected {expected}")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_period(value: Any) -> bool:
    return _is_scale(value) and math.isfinite(value)


def _is_scale(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value) > 0


def _are_fields(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and bool(value)
        and all(isinstance(one, FieldSpec) for one in value)
        and len({one.name for one in value}) == len(value)
    )
