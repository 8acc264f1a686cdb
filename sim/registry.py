"""Task families by name. Importing this module loads no simulator.

A family is a plug-in of the group `fieldtune.families` (`fieldtune.plugins`): a dataclass that
implements `fieldtune.sim.family.TaskFamily`, and whose fields are its options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.plugins import NoSuchPlugin, PluginError
from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode


class UnknownFamily(UserError, ValueError):
    """A name or an option that no family has. The message lists those that there are."""


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
        jobs: Sequence[tuple[int, int]],
        threads: int = 1,
    ) -> list[LabelledEpisode]: ...

    def scripted_return(
        self, family: Any, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
    ) -> float: ...


def names() -> tuple[str, ...]:
    """The families there are, sorted."""
    return tuple(sorted(plugins.names("fieldtune.families")))


def scripted(name: str) -> Scripted | None:
    """What makes the scripted data of the family called `name`; None where there is no script."""
    return cast(Scripted, import_module(_SCRIPTED[name])) if name in _SCRIPTED else None


def family(name: str, **options: Any) -> TaskFamily:
    """The family called `name`, e.g. `family("reach", robot="panda")`.

    Raises:
        UnknownFamily: for a name, an option or an option's value that does not exist.
        PluginError: another package's family cannot be loaded, or is no dataclass.
    """
    try:
        plugin = plugins.find("fieldtune.families", name)
    except NoSuchPlugin:
        listed = ", ".join(names())
        raise UnknownFamily(f"unknown task family {name!r}; choose one of: {listed}") from None
    kind: Any = plugin.load()
    if not is_dataclass(kind):
        raise PluginError(
            f"task family {name!r} of package {plugin.package} ({plugin.place}) is no dataclass, "
            "whose fields would be its options"
        )
    known = tuple(field.name for field in fields(kind))
    unknown = sorted(set(options) - set(known))
    if unknown:
        listed = ", ".join(known) if known else "none"
        raise UnknownFamily(f"family {name!r}: unknown option {unknown[0]!r}; options: {listed}")
    try:
        return cast(TaskFamily, cast(Any, kind)(**options))
    except ValueError as error:
        raise UnknownFamily(str(error)) from error
