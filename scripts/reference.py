"""The reference pages of the site, from the code: `python -m scripts.reference FOLDER`.

Commands come from typer's own `utils docs`, keys from the pydantic models, Python's names from the
table of what packages may import. It must not hold a description of any: those stand beside what
they describe.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fieldtune import plugins
from fieldtune.robot.drivers.hardware.options import ZmqOptions
from fieldtune.robot.drivers.sim import SimOptions
from fieldtune.train.algorithms.registry import DEFAULT, GROUP
from fieldtune.train.runs.config_file import ChosenAlgorithm

DOCS = Path(__file__).parents[1] / "docs"
PROMISE = "What your package may import"
PROGRAMS = {"fieldtune": "fieldtune.train.cli.app", "fieldtune-robot": "fieldtune.robot.cli.app"}
_UNITS = {"_s": "s", "_mb": "MB", "_ns": "ns"}
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def pages() -> dict[str, str]:
    """Markdown by the page's path in docs/."""
    return {
        "reference/cli.md": commands(),
        "reference/configuration.md": configuration(),
        "reference/python.md": python_names(),
    }


def python_names() -> str:
    """What other packages may import, as mkdocstrings reads it: each once, where it is made."""
    text = (
        "# Python\n\nWhat a package of yours may import, as "
        "[your own robot](../your-own-robot.md#what-your-package-may-import) lists it: these names "
        "stay, others are ours to change.\n"
    )
    known = public_names()
    for module, names in known.items():
        found = import_module(module)
        text += f"\n## `{module}`\n"
        for name in names:
            made = getattr(getattr(found, name), "__module__", module)
            if made != module and name in known.get(made, ()):
                text += f"\n`{name}` is [{made}'s](#{made}.{name}).\n"
            else:
                text += f"\n::: {module}.{name}\n"
    return text


def public_names() -> dict[str, list[str]]:
    """What docs/your-own-robot.md promises, names by module; a row of several modules promises each
    of its names for those that have it."""
    text = (DOCS / "your-own-robot.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for row in re.findall(r"^\| `fieldtune.*$", text.split(f"## {PROMISE}\n")[1], re.MULTILINE):
        modules, names, _ = row.strip("|").split("|")
        for module in re.findall(r"`([\w.]+)`", modules):
            there = import_module(module)
            promised = re.findall(r"`(\w+)`", names)
            found[module] = [name for name in promised if hasattr(there, name)]
    return found


def commands() -> str:
    """Every command of both programs, with its options."""
    text = (
        "# Commands\n\nBoth programs end with the same "
        "[exit statuses](../safety.md#exit-statuses), and take `--help` after every command.\n"
    )
    for name, module in PROGRAMS.items():
        done = subprocess.run(
            [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name],
            capture_output=True,
            text=True,
            check=True,
        )
        text += "\n" + _readable(done.stdout)
    return text


def _readable(page: str) -> str:
    """Headings one deeper, examples as code, and quotes as typed."""
    text = re.sub(r'<span style="font-weight: bold">(.*?)</span>', r"**\1**", page)
    text = text.replace("&#x27;", "'").replace("&quot;", '"').replace("&gt;", ">")
    lines, fenced, example = [], False, False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        indented = line.startswith("  ") and not fenced
        if indented and not example:
            lines.append("```bash")
        elif example and line and not indented:
            while not lines[-1]:
                lines.pop()
            lines += ["```", ""]
        example = indented or (example and not line)
        heading = not fenced and line.startswith("#")
        lines.append(f"#{line}" if heading else html.unescape(line.strip()) if indented else line)
    return "\n".join(lines) + "\n"


def configuration() -> str:
    """Every key of a run's file, section by section; then drivers and other algorithms."""
    run = ChosenAlgorithm().config_model(Path())
    text = (
        "# Configuration\n\nOne YAML file describes a run, and the robot reads its section `robot` "
        "of the same file. Every key is checked; on the command line `KEY=VALUE` replaces it. "
        "Where a key is not given its default holds. Why the defaults are what they are: "
        "[settings](../settings.md).\n"
    )
    text += "".join(_section(*one) for one in sections(run))
    for name in plugins.names(GROUP):
        if name != DEFAULT:
            model = ChosenAlgorithm.model_validate({"algorithm": {"name": name}})
            settings = _models(model.config_model(Path()).model_fields["algorithm"].annotation)[0]
            text += _section("algorithm", settings, f" with `name: {name}`")
    for name, options in (("sim", SimOptions), ("zmq", ZmqOptions)):
        for key, model in _below(options, "robot.driver"):
            text += _section(key, model, f" with `name: {name}`")
    return text


def sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section with its dotted key, the whole file's first."""
    return _below(model, "")


def described(model: type[BaseModel], name: str) -> bool:
    """Whether a key is explained: by a description of its own, in its section's words, or, where it
    is a section itself, by that one's."""
    field = model.model_fields[name]
    below = _models(field.annotation)
    return bool(
        field.description or (below and _words(below[0])) or re.search(rf"`{name}\b", _words(model))
    )


def _below(model: type[BaseModel], key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield key, model
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from _below(inner, f"{key}.{name}".removeprefix("."))


def _section(key: str, model: type[BaseModel], where: str = "") -> str:
    rows = "".join(
        f"| `{name}` | {_type(field)} | {_default(field)} | {_unit(name)} | "
        f"{_linked(_cell(field.description or ''))} |\n"
        for name, field in model.model_fields.items()
    )
    title = f"`{key}`{where}" if key else "The whole file"
    head = "| key | takes | default | unit | |\n|---|---|---|---|---|\n"
    return f"\n## {title}\n\n{_words(model)}\n\n{head}{rows}"


def _words(model: type[BaseModel]) -> str:
    """What the section's docstring says, after those of the sections that it extends."""
    said = [
        vars(one)["__doc__"]
        for one in reversed(model.__mro__)
        if issubclass(one, BaseModel)
        and one.__module__.startswith("fieldtune.")
        and not one.__name__.endswith("Section")
        and vars(one).get("__doc__")
    ]
    paragraphs = [re.sub(r"\n[ \t]+", "\n", text).strip() for text in said]
    return _linked("\n\n".join(paragraphs))


def _linked(text: str) -> str:
    return re.sub(r"\bdocs/([\w-]+)\.md", r"[\1](../\1.md)", text)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in get_args(annotation) for model in _models(one)]


def _type(field: FieldInfo) -> str:
    bounds = [f"{_BOUNDS[key]} {value}" for key, value in _limits(field.metadata)]
    return _cell(", ".join([_named(field.annotation), *bounds]))


def _limits(metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from _limits(one.metadata)
        else:
            yield from ((key, getattr(one, key)) for key in _BOUNDS if hasattr(one, key))


def _named(annotation: Any) -> str:
    """A type in a person's words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = [f"{_BOUNDS[key]} {value}" for key, value in _limits(list(inside[1:]))]
        return " ".join([_named(inside[0]), *bounds])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inside)
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _named(one) for one in inside)
    if origin is tuple:
        if inside[-1] is Ellipsis:
            return f"list of: {_named(inside[0])}"
        return f"[{', '.join(_named(one) for one in inside)}]"
    if origin is dict:
        return f"{_named(inside[0])} → {_named(inside[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
    return words.get(annotation, "any value")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "below"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"`{value:g}`"
    return f"`{value}`"


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    for path, text in pages().items():
        place = Path(sys.argv[1]) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        print(place)
