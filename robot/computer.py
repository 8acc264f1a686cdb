"""Looks at the robot's computer for `fieldtune-robot doctor`. Touches no hardware and no journal.

Must not know drivers: an address in a driver's options is all that is read of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fieldtune import machine
from fieldtune.findings import Finding
from fieldtune.robot.config import RealtimeConfig, RobotConfig
from fieldtune.robot.timing.realtime import not_permitted

_LOADED = ("numpy", "onnxruntime", "zmq", "msgspec")


def look(
    settings: RobotConfig | None, require_driver: Callable[[RobotConfig], None]
) -> Iterator[Finding]:
    """Every finding, one after the other.

    Args:
        settings: of the robot that is to run here; None looks at what holds for any.
        require_driver: raises what is wrong with the driver's name and keys.
    """
    yield machine.python()
    yield machine.libraries()
    yield machine.extras()
    yield machine.imports(*_LOADED)
    yield machine.open_files()
    yield _realtime(RealtimeConfig() if settings is None else settings.realtime)
    yield machine.clock()
    if settings is not None:
        yield _disk(settings)
        yield from _ports(settings)
        yield _driver(settings, require_driver)


def _realtime(config: RealtimeConfig) -> Finding:
    refused = not_permitted(config)
    if refused:
        found = "not all is permitted; a robot runs without, later at times"
        return Finding("real time", found, "; ".join(refused), needed=False)
    return Finding("real time", "all that robot.realtime asks for is permitted")


def _disk(settings: RobotConfig) -> Finding:
    quota = settings.journal_quota_bytes
    used = settings.journal.stat().st_size if settings.journal.exists() else 0
    wanted = machine.LEAST_ROOM if quota is None else max(quota - used, machine.LEAST_ROOM)
    lower = "lower robot.journal_quota_mb, which could never be reached"
    return machine.disk("robot.state_dir", settings.state_dir, wanted, lower)


def _driver(settings: RobotConfig, require_driver: Callable[[RobotConfig], None]) -> Finding:
    name = settings.driver.name
    try:
        require_driver(settings)
    except Exception as error:  # whatever a driver's own modules raise
        return Finding("driver", f"{name}: cannot drive this robot", str(error))
    return Finding("driver", f"{name}: its keys fit")


def _ports(settings: RobotConfig) -> Iterator[Finding]:
    if settings.bridge is not None:
        cure = "start `fieldtune finetune` there, or look at network and firewall; the robot runs "
        yield machine.port_to_reach("robot.bridge", settings.bridge, f"{cure}without it meanwhile")
    address = settings.driver.options.get("address")
    if isinstance(address, str):
        cure = "start the hardware's server, or see robot.driver.address: docs/drivers.md"
        yield machine.port_to_reach("robot.driver", address, cure)
