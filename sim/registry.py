"""Task families by name. Importing this module loads no simulator."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from sim.family import TaskFamily

_FAMILIES = {
    "cheetah-vel": ("sim.cheetah_vel", "CheetahVelFamily"),
    "reach": ("sim.reach.family", "ReachFamily"),
}


def names() -> tuple[str, ...]:
    """The families there are, sorted."""
    return tuple(sorted(_FAMILIES))


def family(name: str, **options: Any) -> TaskFamily:
    """The family called `name`, e.g. `family("reach", robot="panda")`.

    Raises:
        ValueError: for a name or an option that does not exist; lists those that do.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown task family {name!r}; choose one of: {', '.join(names())}")
    module, attribute = _FAMILIES[name]
    kind = getattr(import_module(module), attribute)
    known = tuple(kind.__dataclass_fields__)
    unknown = sorted(set(options) - set(known))
    if unknown:
        listed = ", ".join(known) if known else "none"
        raise ValueError(f"family {name!r}: unknown option {unknown[0]!r}; options: {listed}")
    return cast(TaskFamily, kind(**options))
