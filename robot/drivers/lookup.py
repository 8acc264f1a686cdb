"""Finding a driver by name among those that are installed.

Any package offers drivers through the entry-point group `fieldtune.drivers`: a class with a
pydantic model `Options`, called as `cls(family, options)`, which implements
`robot.drivers.driver.Driver`. One whose options have `faults` is a simulator, and gets them
injected. This module must not know any driver itself.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from robot.config import RobotConfig
from robot.drivers.driver import Driver
from robot.drivers.faults import FaultOptions, FaultyDriver
from robot.settings import ConfigError, check

GROUP = "fieldtune.drivers"


def create_driver(config: RobotConfig, source: Path | str) -> Driver:
    """The configured driver, disconnected. `source` is where the config came from, for errors.

    Raises:
        ConfigError: no such driver, a driver that cannot be imported, or an option it refuses.
    """
    kind = _driver_class(config.driver.name, source)
    options = check(kind.Options, config.driver.options, source=str(source), key="robot.driver")
    driver: Driver = kind(config.family, options)
    faults: FaultOptions | None = getattr(options, "faults", None)
    return driver if faults is None else FaultyDriver(driver, faults)


def _driver_class(name: str, source: Path | str) -> Any:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known) or 'none'}"
        if not known:
            hint += "; from a source checkout, `pip install -e .` registers the built-in ones"
        raise ConfigError(f"{source}: 'robot.driver.name' is {name!r}: no such driver; {hint}")
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{source}: 'robot.driver.name' is {name!r}: it cannot be loaded: {error}: "
            "install what it needs"
        ) from error
