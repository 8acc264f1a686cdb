"""Serves any LeRobot robot to Fieldtune's `zmq` driver, in LeRobot's own environment.

    python serve_lerobot.py arm.json --address tcp://127.0.0.1:5790

Needs lerobot and pyzmq, and nothing of Fieldtune; docs/drivers.md explains arm.json. Each number
that the robot declares becomes a field of its name. Cameras are left out.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import pkgutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hardware_frames import Description, Field, Sensed
from hardware_server import Mistake, parser, read_object, serve

log = logging.getLogger("hardware")

_KEYS: dict[str, Any] = {
    "robot": dict,  # LeRobot's own settings for this robot, with its `type`
    "period_s": (int, float),
    "max_lease_s": (int, float),
    "fields": dict,  # by LeRobot's name: unit, low, high; start, rest and wraps of an action
    "start_speed": (int, float),  # units a second, on the way to the start
    "start_tolerance": (int, float),  # how near every joint has to come to it
    "plugins": list,  # modules that register further robots
}
_OPTIONAL = {"start_speed": 10.0, "start_tolerance": 2.0, "plugins": []}
_FIELD_KEYS: dict[str, Any] = {"unit", "low", "high", "start", "rest", "wraps"}
_TURNS = {"deg": 360.0, "degrees": 360.0, "rad": 2 * math.pi}
_DEGREES = ("deg", "degrees")
_ROUNDED = 0.05  # of a bound that a person copied with one digit


class Arm:
    """Implements `hardware_rules.Plant` with a connected LeRobot robot.

    Holding sends each joint's position (`NAME.pos`) as its own goal, 0 as each speed (`NAME.vel`),
    and `rest` for any other number. `home` moves in small steps to each field's `start`, the short
    way round where the field `wraps`.
    """

    def __init__(self, robot: Any, settings: dict[str, Any]) -> None:
        self._robot = robot
        self._fields = settings["fields"]
        self._period_ns = round(settings["period_s"] * 1e9)
        self._step = settings["start_speed"] * settings["period_s"]
        self._tolerance = settings["start_tolerance"]
        self._seen = numbers(robot.observation_features)
        self._moved = numbers(robot.action_features)
        self._starts = {
            name: self._fields[name]["start"]
            for name in self._moved
            if "start" in self._fields[name]
        }
        self._goal: dict[str, float] | None = None
        self._next_ns = 0

    def home(self, seed: int) -> None:  # noqa: ARG002
        """There is one start, whatever the seed."""
        self._goal, self._next_ns = self._still(), 0

    def homed(self) -> bool:
        if self._goal is None:
            return True
        if time.monotonic_ns() < self._next_ns:
            return False
        self._next_ns = time.monotonic_ns() + self._period_ns
        seen = self._robot.get_observation()
        left = {
            name: self._way(name, start, float(seen[name])) for name, start in self._starts.items()
        }
        if all(abs(way) <= self._tolerance for way in left.values()):
            self._goal = None
            return True
        for name, start in self._starts.items():
            way = self._way(name, start, self._goal[name])
            goal = self._goal[name] + min(max(way, -self._step), self._step)
            self._goal[name] = self._told(name, goal)
        self._robot.send_action(self._goal)
        return False

    def sense(self) -> Sensed:
        before_ns = time.monotonic_ns()
        seen = self._robot.get_observation()
        return Sensed([float(seen[name]) for name in self._seen], before_ns)

    def apply(self, action: Sequence[float]) -> list[float]:
        sent = self._robot.send_action(dict(zip(self._moved, action, strict=True)))
        return [float(sent[name]) for name in self._moved]

    def hold(self) -> None:
        self._goal = None
        self._robot.send_action(self._still())

    def _way(self, name: str, there: float, here: float) -> float:
        turn = self._turn(name)
        return there - here - (turn * round((there - here) / turn) if turn else 0.0)

    def _told(self, name: str, goal: float) -> float:
        """A goal across the bounds of a whole turn, told within them."""
        field, turn = self._fields[name], self._turn(name)
        if not turn or field["low"] <= goal <= field["high"]:
            return goal
        return goal - turn * round((goal - (field["low"] + field["high"]) / 2) / turn)

    def _turn(self, name: str) -> float:
        """A whole turn in the field's unit; 0 where it does not wrap."""
        field = self._fields[name]
        return _TURNS[field["unit"]] if field.get("wraps") else 0.0

    def _still(self) -> dict[str, float]:
        """The action that keeps it where it is now."""
        seen = self._robot.get_observation()
        return {name: self._still_one(name, seen) for name in self._moved}

    def _still_one(self, name: str, seen: dict[str, Any]) -> float:
        if "rest" in self._fields[name]:
            return float(self._fields[name]["rest"])
        return 0.0 if name.endswith(".vel") else float(seen[name])


def numbers(features: dict[str, Any]) -> list[str]:
    """The names of what LeRobot declares as one number; pictures are arrays."""
    return [name for name, kind in features.items() if kind in (float, int)]


def read_settings(path: Path) -> dict[str, Any]:
    """Raises `Mistake`."""
    settings: dict[str, Any] = _OPTIONAL | read_object(path, tuple(_KEYS))
    for key, kind in _KEYS.items():
        if not isinstance(settings.get(key), kind) or isinstance(settings.get(key), bool):
            raise Mistake(f"{path}: {key!r} is {settings.get(key)!r}, which it cannot be")
    for key in ("period_s", "max_lease_s", "start_speed", "start_tolerance"):
        if not (settings[key] > 0 and math.isfinite(settings[key])):
            raise Mistake(f"{path}: {key!r} is {settings[key]}: expected a number above 0")
    return settings


def check_fields(fields: dict[str, Any], robot: Any) -> None:
    """Every action has bounds and a way to rest. Raises `Mistake`."""
    seen, moved = numbers(robot.observation_features), numbers(robot.action_features)
    for name, field in fields.items():
        if name not in (*seen, *moved):
            raise Mistake(f"fields: the robot has no {name!r}; it has {', '.join((*seen, *moved))}")
        if not isinstance(field, dict) or set(field) - _FIELD_KEYS:
            raise Mistake(
                f"fields.{name}: expected an object with {', '.join(sorted(_FIELD_KEYS))}"
            )
    for name in moved:
        field = fields.get(name, {})
        low, high = field.get("low", math.nan), field.get("high", math.nan)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise Mistake(
                f"fields.{name}: LeRobot declares no bounds, so a person has to: low and high"
            )
        if "rest" not in field and not name.endswith(".vel") and name not in seen:
            raise Mistake(f"fields.{name}: how does it rest? rest: the number that stops it")
        if field.get("wraps", False) not in (True, False):
            raise Mistake(f"fields.{name}.wraps: {field['wraps']!r}: expected true or false")
        turn = _TURNS.get(str(field.get("unit")), math.nan)
        if field.get("wraps") and not abs(high - low - turn) <= turn / 1000:
            raise Mistake(
                f"fields.{name}.wraps: from {low} to {high} {field.get('unit', '')!r} is no whole "
                "turn: expected the unit deg or rad, and bounds such as -180 and 180"
            )
        if "start" in field and not (name in seen and low <= field["start"] <= high):
            raise Mistake(f"fields.{name}.start: expected a position that is seen, within bounds")


class Told:
    """How LeRobot tells one motor's position: in `units`, and within what its calibration saw.

    `low` and `high` are infinite where there is no calibration yet.
    """

    def __init__(self, units: tuple[str, ...], low: float, high: float, says: str) -> None:
        self.units, self.low, self.high, self.says = units, low, high, says


def told(robot: Any) -> dict[str, Told]:
    """By field, of a robot whose motors are on one bus of LeRobot's; empty of another.

    LeRobot clips what it is told in percent to the calibrated range, and degrees not at all.
    """
    bus = getattr(robot, "bus", None)
    found = {}
    for name, motor in getattr(bus, "motors", {}).items():
        mode = str(getattr(getattr(motor, "norm_mode", None), "value", None))
        if mode == "degrees":
            half = _half_range(bus, name, motor)
            says = "LeRobot tells it in degrees"
            found[f"{name}.pos"] = Told(_DEGREES, -half, half, says)
        elif mode.startswith("range_"):
            low = -100.0 if mode == "range_m100_100" else 0.0
            says = f"LeRobot tells it in percent of its calibrated range, from {low:g} to 100"
            found[f"{name}.pos"] = Told(("%",), low, 100.0, says)
    return found


def _half_range(bus: Any, name: str, motor: Any) -> float:
    """Degrees from the middle of a motor's calibrated range to its end."""
    seen = (getattr(bus, "calibration", None) or {}).get(name)
    steps = getattr(bus, "model_resolution_table", {}).get(motor.model)
    if seen is None or not steps:
        return math.inf
    return float((seen.range_max - seen.range_min) / 2 * 360 / (steps - 1))


def check_told(fields: dict[str, Any], robot: Any) -> None:
    """Units and bounds are those that LeRobot tells positions in. Raises `Mistake`."""
    for name, motor in told(robot).items():
        field = fields.get(name, {})
        unit = field.get("unit", motor.units[0])
        if unit not in motor.units:
            raise Mistake(
                f"fields.{name}.unit: {unit!r}, but {motor.says}: expected {motor.units[0]!r}, or "
                "another `use_degrees` in `robot` where it has one"
            )
        low, high = field.get("low", motor.low), field.get("high", motor.high)
        if low < motor.low - _ROUNDED or high > motor.high + _ROUNDED:
            raise Mistake(
                f"fields.{name}: from {low:g} to {high:g}, but its calibration saw "
                f"{motor.low:.1f} to {motor.high:.1f} {motor.units[0]}: expected bounds within"
            )


def describe(robot: Any, settings: dict[str, Any]) -> Description:
    units = {name: motor.units[0] for name, motor in told(robot).items()}

    def fields(names: Iterable[str]) -> tuple[Field, ...]:
        given = settings["fields"]
        return tuple(
            Field(
                name,
                given.get(name, {}).get("unit", units.get(name, "")),
                (float(given.get(name, {}).get("low", -math.inf)),),
                (float(given.get(name, {}).get("high", math.inf)),),
            )
            for name in names
        )

    return Description(
        robot=robot.name,
        period_s=float(settings["period_s"]),
        max_lease_s=float(settings["max_lease_s"]),
        observation=fields(numbers(robot.observation_features)),
        action=fields(numbers(robot.action_features)),
    )


def make_robot(settings: dict[str, Any]) -> Any:
    """LeRobot's robot, disconnected. Raises `Mistake` for one that LeRobot does not know."""
    import draccus
    from lerobot import robots
    from lerobot.robots import RobotConfig, make_robot_from_config
    from lerobot.utils.import_utils import register_third_party_plugins

    for module in pkgutil.iter_modules(robots.__path__, "lerobot.robots."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:  # this robot's own software is not installed
            log.info("%s is left out: %s", module.name, error)
    register_third_party_plugins()
    for plugin in settings["plugins"]:
        importlib.import_module(plugin)
    try:
        return make_robot_from_config(draccus.decode(RobotConfig, settings["robot"]))
    except Exception as error:  # LeRobot and draccus raise many kinds
        raise Mistake(f"robot: LeRobot cannot make it: {error}") from error


def connect(robot: Any, settings: dict[str, Any]) -> None:
    """Connect, and calibrate nothing: LeRobot would ask at a terminal that a server has not.

    Raises `Mistake`: the robot is disconnected then, and its torque off where that can be.
    """
    kind = settings["robot"].get("type")
    who = "" if robot.id is None else f" --robot.id={robot.id}"
    cure = f"run `lerobot-calibrate --robot.type={kind}{who}` with its port, and start again"
    bus, file = getattr(robot, "bus", None), robot.calibration_fpath
    if told(robot) and not getattr(bus, "calibration", None):
        raise Mistake(f"robot: it is not calibrated, there is no {file}: {cure}")
    asks = "calibrate" in inspect.signature(robot.connect).parameters
    try:
        robot.connect(**({"calibrate": False} if asks else {}))
    except Exception as error:  # each robot's own kinds
        said = " ".join(str(error).split())
        raise Mistake(f"robot: LeRobot cannot connect to it: {said}") from error
    if robot.is_calibrated is not False:  # a robot behind another process says nothing
        return
    if hasattr(bus, "disable_torque"):
        bus.disable_torque()
    robot.disconnect()
    raise Mistake(f"robot: its motors hold another calibration than {file}: {cure}")


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("settings", type=Path, help="arm.json, as docs/drivers.md explains it")
    given = arguments.parse_args()
    try:
        settings = read_settings(given.settings)
        robot = make_robot(settings)
        check_fields(settings["fields"], robot)
        check_told(settings["fields"], robot)
        connect(robot, settings)
    except Mistake as mistake:
        sys.exit(f"error: {mistake}")
    try:
        serve(Arm(robot, settings), describe(robot, settings), given)
    finally:
        robot.disconnect()


if __name__ == "__main__":
    main()
