"""Task families by name. Importing this module loads no simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode


class UnknownFamily(UserError, ValueError):
    """A name or an option that no family has. The message lists those that there are."""


_FAMILIES = {
    "ant-dir": ("fieldtune.sim.locomotion.ant_dir", "AntDirFamily"),
    "cheetah-vel": ("fieldtune.sim.locomotion.cheetah_vel", "CheetahVelFamily"),
    "drawer-door": ("fieldtune.sim.manipulation.families.drawer_door", "DrawerDoorFamily"),
    "hopper-params": ("fieldtune.sim.locomotion.hopper_params", "HopperParamsFamily"),
    "humanoid-dir": ("fieldtune.sim.locomotion.humanoid_dir", "HumanoidDirFamily"),
    "multi": ("fieldtune.sim.manipulation.families.multi", "MultiFamily"),
    "pick-place": ("fieldtune.sim.manipulation.families.pick_place", "PickPlaceFamily"),
    "push": ("fieldtune.sim.manipulation.families.push", "PushFamily"),
    "reach": ("fieldtune.sim.manipulation.reach.family", "ReachFamily"),
    "walker-params": ("fieldtune.sim.locomotion.walker_params", "WalkerParamsFamily"),
}

_SCRIPTED = {
    "drawer-door": "fieldtune.sim.manipulation.scripted",
    "multi": "fieldtune.sim.manipulation.scripted",
    "pick-place": "fieldtune.sim.manipulation.scripted",
    "push": "fieldtune.sim.manipulation.scripted",
    "reach": "fieldtune.sim.manipulation.reach.scripted",
}


class Scripted(Protocol):
    """The module that makes a family's scripted data. `POLICY` says how, in one line."""

    POLICY: str

    def collect_scripted(
        self,
        family: Any,
        seed: int,
        tasks: Array,
        episodes_per_task: int,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[LabelledEpisode]: ...

    def scripted_return(
        self, family: Any, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
    ) -> float: ...


def names() -> tuple[str, ...]:
    """The families there are, sorted."""
    return tuple(sorted(_FAMILIES))


def scripted(name: str) -> Scripted | None:
    """What makes the scripted data of the family called `name`; None where there is no script."""
    return cast(Scripted, import_module(_SCRIPTED[name])) if name in _SCRIPTED else None


def family(name: str, **options: Any) -> TaskFamily:
    """The family called `name`, e.g. `family("reach", robot="panda")`.

    Raises:
        UnknownFamily: for a name, an option or an option's value that does not exist.
    """
    if name not in _FAMILIES:
        raise UnknownFamily(f"unknown task family {name!r}; choose one of: {', '.join(names())}")
    module, attribute = _FAMILIES[name]
    kind = getattr(import_module(module), attribute)
    known = tuple(kind.__dataclass_fields__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        listed = ", ".join(known) if known else "none"
        raise UnknownFamily(f"family {name!r}: unknown option {unknown[0]!r}; options: {listed}")
    try:
        return cast(TaskFamily, kind(**options))
    except ValueError as error:
        raise UnknownFamily(str(error)) from error
