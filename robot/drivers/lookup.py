"""The configured driver: found by name, made with its options, put behind its boundary.

A driver is a plug-in of the group `fieldtune.drivers` (`fieldtune.plugins`): a class with a
pydantic model `Options`, called as `cls(family, options)`, which implements
`fieldtune.robot.drivers.driver.Driver`; `fieldtune.robot.drivers.checked` holds it to that. One
that can stand for several robots names a third parameter, `model`, and is given `robot.model`; one
that simulates a family names `family_options`, and is given `robot.family_options`. One whose
options have `faults` is a simulator, and gets them injected. This module must not know any driver
itself.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fieldtune import plugins
from fieldtune.plugins import PluginError
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.checked import CheckedDriver, checked
from fieldtune.robot.drivers.driver import Driver, DriverFault
from fieldtune.robot.drivers.faults import FaultOptions, FaultyDriver
from fieldtune.settings import ConfigError, check


def create_driver(config: RobotConfig, source: Path | str) -> CheckedDriver:
    """The configured driver, disconnected, behind its boundary (`fieldtune.robot.drivers.checked`).

    Args:
        source: where the config came from, for errors.

    Raises:
        ConfigError: no such driver, one that cannot be imported, an option that it refuses, or a
            driver of another robot than `robot.model`.
        DriverFault: it cannot be made, or is no driver.
    """
    name = config.driver.name
    kind, options = _with_options(config, source)
    whole = checked(_make(kind, config, options), name)
    if config.model is not None and whole.robot != config.model:
        raise ConfigError(
            f"{source}: 'robot.model' is {config.model!r}: {whole.label} is of {whole.robot!r}; "
            "choose the driver of that robot, or leave robot.model out"
        )
    faults: FaultOptions | None = getattr(options, "faults", None)
    if faults is None:
        return whole
    return CheckedDriver(FaultyDriver(whole, faults), whole.label)


def require_driver(config: RobotConfig, source: Path | str) -> None:
    """That there is such a driver and that its keys fit; makes none. Raises as `create_driver`."""
    _with_options(config, source)


def is_simulated(config: RobotConfig, source: Path | str) -> bool:
    """Whether the configured driver moves no hardware: only simulators get faults injected."""
    return "faults" in _driver_class(config.driver.name, source).Options.model_fields


def _with_options(config: RobotConfig, source: Path | str) -> tuple[Any, BaseModel]:
    kind = _driver_class(config.driver.name, source)
    options = check(kind.Options, config.driver.options, source=str(source), key="robot.driver")
    return kind, options


def _make(kind: Any, config: RobotConfig, options: BaseModel) -> Driver:
    try:
        known = signature(kind).parameters
        said = {"model": config.model, "family_options": config.family_options}
        told = {name: value for name, value in said.items() if name in known}
        driver: Driver = kind(config.family, options, **told)
    except DriverFault:
        raise
    except Exception as error:
        where = f"driver {config.driver.name!r} ({kind.__module__}.{kind.__qualname__})"
        raise DriverFault(f"{where} cannot be made: {type(error).__name__}: {error}") from error
    return driver


def _driver_class(name: str, source: Path | str) -> Any:
    try:
        plugin = plugins.find("fieldtune.drivers", name)
        kind = plugin.load()
    except PluginError as error:
        raise ConfigError(f"{source}: 'robot.driver.name' is {name!r}: {error}") from error
    options = getattr(kind, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise ConfigError(
            f"{source}: 'robot.driver.name' is {name!r}: {plugin.place} has no `Options`, a "
            "pydantic model of its keys (docs/drivers.md)"
        )
    return kind
