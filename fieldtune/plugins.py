"""Plug-ins: classes by group and name, our own and those that installed packages bring.

A package offers one through an entry point; ours stand in the table below, so that a checkout works
uninstalled. Only text is known here: nothing is imported until `load`, and what a class must look
like is for the room that uses its group to know.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, get_args

from fieldtune.errors import UserError

Group = Literal[
    "fieldtune.families",
    "fieldtune.drivers",
    "fieldtune.rewards",
    "fieldtune.scripts",
    "fieldtune.algorithms",
    "fieldtune.importers",
    "fieldtune.trackers",
]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
KINDS: Final[dict[Group, str]] = {
    "fieldtune.families": "task family",
    "fieldtune.drivers": "driver",
    "fieldtune.rewards": "source of rewards",
    "fieldtune.scripts": "script",
    "fieldtune.algorithms": "algorithm",
    "fieldtune.importers": "format of data",
    "fieldtune.trackers": "tracker",
}

OURS: Final = "fieldtune"
BUILT_IN: Final[dict[Group, dict[str, str]]] = {
    "fieldtune.families": {
        "ant-dir": "fieldtune.sim.locomotion.ant_dir:AntDirFamily",
        "cheetah-vel": "fieldtune.sim.locomotion.cheetah_vel:CheetahVelFamily",
        "drawer-door": "fieldtune.sim.manipulation.families.drawer_door:DrawerDoorFamily",
        "hopper-params": "fieldtune.sim.locomotion.hopper_params:HopperParamsFamily",
        "humanoid-dir": "fieldtune.sim.locomotion.humanoid_dir:HumanoidDirFamily",
        "multi": "fieldtune.sim.manipulation.families.multi:MultiFamily",
        "pick-place": "fieldtune.sim.manipulation.families.pick_place:PickPlaceFamily",
        "point-goal": "fieldtune.sim.point_goal.family:PointGoalFamily",
        "push": "fieldtune.sim.manipulation.families.push:PushFamily",
        "reach": "fieldtune.sim.manipulation.reach.family:ReachFamily",
        "walker-params": "fieldtune.sim.locomotion.walker_params:WalkerParamsFamily",
    },
    "fieldtune.drivers": {
        "sim": "fieldtune.robot.drivers.sim:SimDriver",
        "zmq": "fieldtune.robot.drivers.hardware.driver:ZmqDriver",
    },
    "fieldtune.rewards": {
        "driver": "fieldtune.robot.rewards.driver:driver_rewards",
        "keys": "fieldtune.robot.rewards.keyboard:key_rewards",
        "command": "fieldtune.robot.rewards.command:command_rewards",
    },
    "fieldtune.scripts": {"waves": "fieldtune.robot.drivers.waves:Waves"},
    "fieldtune.algorithms": {
        "smac": "fieldtune.train.algorithms.smac:Smac",
        "meta-bc": "fieldtune.train.algorithms.meta_bc:MetaBehaviourCloning",
        "pearl": "fieldtune.train.algorithms.pearl:Pearl",
        "focal": "fieldtune.train.algorithms.focal:Focal",
        "csro": "fieldtune.train.algorithms.csro:Csro",
        "unicorn": "fieldtune.train.algorithms.unicorn:Unicorn",
        "macaw": "fieldtune.train.algorithms.macaw:Macaw",
        "borel": "fieldtune.train.algorithms.borel:Borel",
    },
    "fieldtune.importers": {
        "d4rl": "fieldtune.train.importing.formats.d4rl:D4rl",
        "journal": "fieldtune.train.importing.formats.journal:RobotJournal",
        "lerobot": "fieldtune.train.importing.formats.lerobot:LeRobot",
        "minari": "fieldtune.train.importing.formats.minari:Minari",
        "robomimic": "fieldtune.train.importing.formats.robomimic:Robomimic",
    },
    "fieldtune.trackers": {
        "tensorboard": "fieldtune.train.runs.trackers.to_tensorboard:TensorBoard",
        "wandb": "fieldtune.train.runs.trackers.to_wandb:WandB",
        "mlflow": "fieldtune.train.runs.trackers.to_mlflow:MLflow",
        "trackio": "fieldtune.train.runs.trackers.to_trackio:Trackio",
    },
}

# The packages that became parts of `fieldtune`: what was written against them names these.
_FORMER = re.compile(r"\b(?:from|import)\s+((?:robot|train|sim|export)(?:\.\w+)*)")


class PluginError(UserError):
    """A plug-in that cannot be used. The message names group, name, package and reason."""


class NoSuchPlugin(PluginError):
    """Nobody offers the name, which the message leaves to the caller; it says which there are."""


@dataclass(frozen=True)
class Plugin:
    """What stands in the table or in an entry point; `place` is `module:attribute`."""

    group: Group
    name: str
    place: str
    package: str

    @property
    def built_in(self) -> bool:
        return self.package == OURS

    def load(self) -> Any:
        """Import what it names.

        Raises:
            PluginError: another package's fails, in whatever way. What ours raises is passed on.
        """
        if self.built_in:
            return _import(self.place)
        try:
            return _import(self.place)
        except Exception as error:  # whatever their module does when it is imported
            raise PluginError(
                f"{self.name!r} of package {self.package} ({self.group}: {self.place}) cannot be "
                f"loaded: {_reason(error)}"
            ) from error


def offered(group: Group) -> tuple[Plugin, ...]:
    """All plug-ins of a group, ours first, then by name. A name may be there more than once."""
    ours = tuple(Plugin(group, name, place, OURS) for name, place in BUILT_IN[group].items())
    return ours + tuple(sorted(_installed(group), key=lambda plugin: (plugin.name, plugin.package)))


def names(group: Group) -> tuple[str, ...]:
    """Every name of a group once, in the order of `offered`."""
    return tuple(dict.fromkeys(plugin.name for plugin in offered(group)))


def is_known(group: Group, name: str) -> bool:
    """Whether somebody offers the name; it may still fail to load."""
    return name in BUILT_IN[group] or name in names(group)


def find(group: Group, name: str) -> Plugin:
    """The plug-in of that name, not yet loaded. Nobody takes the place of one of ours.

    Raises:
        NoSuchPlugin: with the nearest name, or all that there are.
        PluginError: several packages offer the name.
    """
    if name in BUILT_IN[group]:  # without a look at what is installed
        return Plugin(group, name, BUILT_IN[group][name], OURS)
    found = [plugin for plugin in _installed(group) if plugin.name == name]
    if not found:
        known = names(group)
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known)}"
        raise NoSuchPlugin(f"no such {KINDS[group]}; {hint}")
    if len(found) > 1:
        raise PluginError(_rivals(found))
    return found[0]


def load(group: Group, name: str) -> Any:
    """What the plug-in of that name is. Raises as `find` and `Plugin.load`."""
    return find(group, name).load()


def problem(plugin: Plugin) -> str:
    """Why a plug-in of another package cannot be used; empty where it can. Imports it."""
    if plugin.built_in:
        return ""
    if plugin.name in BUILT_IN[plugin.group]:
        return (
            f"{plugin.name!r} of package {plugin.package} ({plugin.group}: {plugin.place}) is "
            "never used: fieldtune has one of its own by that name; give it another"
        )
    try:
        load(plugin.group, plugin.name)
    except PluginError as error:
        return str(error)
    return ""


def _installed(group: Group) -> Iterator[Plugin]:
    for entry in entry_points(group=group):
        package = _package(entry)
        if not (package.split()[0] == OURS and BUILT_IN[group].get(entry.name) == entry.value):
            yield Plugin(group, entry.name, entry.value, package)


def _package(entry: EntryPoint) -> str:
    return "?" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _import(place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


def _rivals(found: list[Plugin]) -> str:
    offers = " and ".join(f"{plugin.package} ({plugin.place})" for plugin in found)
    return f"{found[0].name!r} ({found[0].group}) is offered by {offers}: uninstall one of them"


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if not isinstance(error, ImportError):
        return text
    if isinstance(error, ModuleNotFoundError):
        former = _former_name(error)
        if former:
            return f"{text}: it is called fieldtune.{former} now; import that"
    return f"{text}: install what it needs"


def _former_name(error: ModuleNotFoundError) -> str:
    """The module of ours that was asked for by a name from before it was part of `fieldtune`."""
    first = (error.name or "").partition(".")[0]
    if first not in ("robot", "train", "sim", "export"):
        return ""
    line, place = "", error.__traceback__
    while place is not None:  # the statement itself, since the error names a first part alone
        source = linecache.getline(place.tb_frame.f_code.co_filename, place.tb_lineno)
        line, place = source if _FORMER.search(source) else line, place.tb_next
    asked = _FORMER.search(line)
    return asked.group(1) if asked and asked.group(1).split(".")[0] == first else str(error.name)
