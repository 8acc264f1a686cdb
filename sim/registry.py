"""Task families by name. Importing this module loads no simulator.

A family is a plug-in of the group `fieldtune.families` (`fieldtune.plugins`): a dataclass that
implements `fieldtune.sim.family.TaskFamily`, and whose fields are its options.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final, cast

from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.plugins import NoSuchPlugin, PluginError
from fieldtune.sim import label_only
from fieldtune.sim.family import TaskFamily

GROUP: Final = "fieldtune.families"
PLAIN = (bool, int, float, str)


class UnknownFamily(UserError, ValueError):
    """A name or an option that no family has. The message lists those that there are."""


def names() -> tuple[str, ...]:
    """The families there are, sorted."""
    return tuple(sorted(plugins.names(GROUP)))


def family(name: str, **options: Any) -> TaskFamily:
    """The family called `name`, e.g. `family("reach", robot="panda")`.

    Args:
        name: a plug-in's, or that of the file; the path of such a file itself.
        options: the values of its fields; a list, as YAML has them, becomes a tuple.
            `family_file` is none of them, but the YAML file that defines a family of labelled data
            alone (`fieldtune.sim.label_only`).

    Raises:
        UnknownFamily: for a name, an option or an option's value that does not exist.
        PluginError: another package's family cannot be loaded or made, or is no dataclass.
        ConfigError: `family_file` cannot be read, or something in it is wrong.
    """
    if is_file(name):
        return _of_file(None, name, options)
    if (file := options.pop("family_file", None)) is not None:
        return _of_file(name, file, options)
    try:
        plugin = plugins.find(GROUP, name)
    except NoSuchPlugin:
        listed = ", ".join(names())
        raise UnknownFamily(
            f"unknown task family {name!r}; choose one of: {listed} (one of your own package is "
            "there once that is installed, `pip install -e .` in it; one of labelled data alone is "
            "named by its file, family_file, and has no simulator)"
        ) from None
    kind: Any = plugin.load()
    if not is_dataclass(kind):
        raise PluginError(
            f"task family {name!r} of package {plugin.package} ({plugin.place}) is no dataclass, "
            "whose fields would be its options"
        )
    known = {field.name: field for field in fields(kind)}
    for option, value in options.items():
        if option not in known:
            # Which robot it is, `robot.model` says.
            listed = ", ".join(other for other in known if other != "robot") or "none"
            raise UnknownFamily(
                f"family {name!r}: unknown option {option!r}; options: {listed} (what is no option "
                "is a family of your own: docs/families.md)"
            )
        _require_kind(name, option, value, known[option].default)
    try:
        given = {option: _as_tuple(value) for option, value in options.items()}
        return cast(TaskFamily, cast(Any, kind)(**given))
    except ValueError as error:
        raise UnknownFamily(str(error)) from error
    except TypeError as error:  # such as a method that it owes
        raise PluginError(
            f"task family {name!r} of package {plugin.package} ({plugin.place}) cannot be made: "
            f"{error}"
        ) from error


def is_file(name: str) -> bool:
    """Whether a command's family is a YAML file that defines one."""
    return name.endswith((".yaml", ".yml"))


def _of_file(name: str | None, file: str, options: dict[str, Any]) -> TaskFamily:
    found = label_only.read(Path(file))
    if name not in (None, found.name):
        raise UnknownFamily(f"family is {name!r}, the name in {file} is {found.name!r}: say one")
    for option, value in options.items():
        if (option, value) != ("robot", found.robot):
            raise UnknownFamily(
                f"{file}: a family of a file takes no options, {option} is {value!r}: leave it out"
                + (f", or say {found.robot}" if option == "robot" else "")
            )
    return found


def options(of: TaskFamily) -> dict[str, Any]:
    """The plain values of a family's options but `robot`, as JSON has them."""
    if not is_dataclass(of):
        return {}
    found = {field.name: getattr(of, field.name) for field in fields(of)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if name != "robot" and isinstance(value, (*PLAIN, tuple))
    }


def code(of: TaskFamily) -> str:
    """A digest of the Python and XML files of another package's family, by which it is known again;
    empty for ours. What `fieldtune` holds itself, `fieldtune.own_files` digests."""
    package = type(of).__module__.partition(".")[0]
    place = getattr(sys.modules.get(package), "__file__", None)
    if package == plugins.OURS or place is None:
        return ""
    file = Path(place)
    every = [file]
    if file.name == "__init__.py":
        every = sorted(one for one in file.parent.rglob("*") if one.suffix in (".py", ".xml"))
    known = hashlib.sha256()
    for one in every:
        known.update(f"{one.relative_to(file.parent)}\0".encode())
        known.update(hashlib.sha256(one.read_bytes()).digest())
    return known.hexdigest()[:12]


def _require_kind(name: str, option: str, value: Any, default: Any) -> None:
    """A dataclass takes any value: text for a number would fail far from here."""
    kind = type(default)
    if kind not in PLAIN or type(value) is kind or (kind is float and type(value) is int):
        return
    raise UnknownFamily(
        f"family {name!r}: option {option!r} is {value!r}: expected {kind.__name__}, as the "
        f"default, {default!r}"
    )


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
