"""Settings: YAML files and `a.b=value` overrides, checked against a pydantic model.

Knows files, keys and how to explain a mistake in them. It must not know what any setting means:
every program brings its own model, and the trainer uses this module with its own. How scalars are
read is plain_yaml's to know, where paths start config_paths'.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from fieldtune import plain_yaml
from fieldtune.config_paths import Location, PathError, rooted, written
from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.regular_file import open_regular

Model = TypeVar("Model", bound=BaseModel)

LONGEST = 1_000_000  # bytes of a file of settings
_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


class ConfigError(UserError):
    """A setting that cannot be used: the message names file, key, value and cure."""


def load(
    model: type[Model],
    path: Path,
    *,
    section: str | None = None,
    overrides: Sequence[str] = (),
    prepare: Callable[[Any], Any] = lambda values: values,
) -> Model:
    """Read and check one run's settings.

    Types are strict: a quoted number is not a number. Keys that the model does not know are errors
    when the model forbids extras. Paths come back absolute: those of the file and defaults start in
    the file's own folder, links to it followed, those of overrides in the working folder.

    Args:
        model: what the settings must look like.
        path: a YAML file.
        section: read only this top-level key; other sections belong to other programs.
        overrides: `a.b=value`, the value parsed as YAML. Keys are spelled as in the file, so they
            start with `section` where one is given.
        prepare: what makes the model's form of short ones that a person may write; pure, and
            without opinion of what it does not know. Errors name what was written.

    Raises:
        ConfigError: with one line for each mistake.
    """
    path = Path(path)
    settings = written(_read(path), _folder(path))
    if section is not None and section not in settings and settings:
        found = ", ".join(repr(key) for key in settings)
        raise ConfigError(f"{path}: no section {section!r}; the file has {found}")
    places = [_apply_override(settings, override, section) for override in overrides]
    relevant = settings if section is None else settings.get(section)
    prefix: Location = () if section is None else (section,)
    relevant = {} if relevant is None else relevant
    checked = _check(model, relevant, str(path), prefix, places, prepare)
    return _rooted(checked, relevant, _folder(path), str(path), prefix)


def check(model: type[Model], values: dict[str, Any], *, source: str, key: str) -> Model:
    """Check settings that are already read, such as the part that a plug-in brings its model for.

    Paths come back as from `load` where `values` are from there.

    Args:
        values: what stands at the dotted `key` of `source`.

    Raises:
        ConfigError: as `load`.
    """
    prefix = tuple(key.split("."))
    return _rooted(_check(model, values, source, prefix, []), values, None, source, prefix)


def _check(
    model: type[Model],
    values: Any,
    source: str,
    prefix: Location,
    overridden: list[Location],
    prepare: Callable[[Any], Any] = lambda values: values,
) -> Model:
    _require_64_bits(values, source, prefix)
    text = _as_json(prepare(values), source, prefix)
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        lines = [
            _explain(model, prefix, values, dict(detail), source, overridden)
            for detail in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def dump(model: BaseModel, path: Path, *, movable: str | None = None) -> None:
    """Write resolved settings as YAML for `load`, paths absolute, those of a plug-in as they are;
    a crash leaves the old file or the new.

    Args:
        movable: the dotted key of a path that, where it lies in the file's own folder, is written
            from there, so that the folder can be moved with all that is in it.
    """
    path = Path(path)
    model = rooted(model, {}, Path.cwd())
    # From plain data: a model turns infinity into null, whatever it is asked.
    values = to_jsonable_python(model.model_dump(by_alias=True), inf_nan_mode="constants")
    if movable is not None:
        *above, last = movable.split(".")
        inside = reduce(operator.getitem, above, values)
        place, folder = Path(inside[last]), Path(os.path.normpath(path.absolute().parent))
        if place.is_relative_to(folder):
            inside[last] = str(place.relative_to(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, plain_yaml.write(values).encode())


def _folder(path: Path) -> Path:
    """The folder in which a file really lies, by whichever name it was called."""
    try:
        return path.resolve().parent
    except OSError as error:  # the working folder is gone, or links go round
        raise ConfigError(f"{path}: its folder cannot be found: {error.strerror}") from None


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        raise ConfigError("the working folder is gone: change to one that is there") from None


def _rooted(model: Model, raw: Any, folder: Path | None, source: str, prefix: Location) -> Model:
    try:
        return rooted(model, raw, folder, prefix)
    except PathError as error:
        raise ConfigError(
            f"{source}: {_dotted(error.location)!r} is {_show(error.text)}: {error.problem}"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ConfigError(
                f"{path}: is longer than {LONGEST:,} bytes; expected a YAML file of settings"
            )
        parsed = plain_yaml.parse(content.decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a YAML file of settings") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; expected a YAML file of settings") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {_problem(error)}") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path}: holds {_show(parsed)}; expected `key: value` lines")
    return parsed


def _problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem


def _apply_override(settings: dict[str, Any], override: str, section: str | None) -> Location:
    """Set one `a.b=value` in `settings`; return where it went."""
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: expected key.subkey=value")
    if section is not None and (keys[0] != section or len(keys) == 1):
        raise ConfigError(
            f"override {override!r}: unknown key {key.strip()!r}: "
            f"did you mean '{section}.{key.strip()}'? keys start with '{section}.' here"
        )
    try:
        value = plain_yaml.parse(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(
            f"override {override!r}: value is not valid YAML: {_problem(error)}"
        ) from None
    inside = settings
    for depth, name in enumerate(keys[:-1]):
        if inside.get(name) is None:
            inside[name] = {}
        if not isinstance(inside[name], dict):
            parent = ".".join(keys[: depth + 1])
            raise ConfigError(
                f"override {override!r}: {parent!r} is {_show(inside[name])}, which has no keys: "
                f"set it as a whole, {parent}=..."
            )
        inside = inside[name]
    inside[keys[-1]] = written(value, _working_folder())
    return tuple(keys)


def _require_64_bits(values: Any, source: str, location: Location) -> None:
    """A longer number fails in whichever library first wants to hold it."""
    if isinstance(values, dict | list):
        for key, one in values.items() if isinstance(values, dict) else enumerate(values):
            _require_64_bits(one, source, (*location, key))
    elif isinstance(values, int) and not -(2**63) <= values < 2**63:
        raise ConfigError(
            f"{source}: {_dotted(location)!r} is {_show(values)}: expected a whole number of 64 "
            f"bits, at most {2**63 - 1}"
        )


def _as_json(value: Any, source: str, prefix: Location) -> str:
    """JSON text: from it, strict pydantic still takes lists for tuples and text for paths."""

    def refuse(other: Any) -> Any:
        where = f" in {_dotted(prefix)!r}" if prefix else ""
        raise ConfigError(
            f"{source}: value {other!r}{where} is a {type(other).__name__}, which no setting "
            "takes: quote it"
        )

    try:
        return json.dumps(value, default=refuse)
    except (ValueError, RecursionError) as error:  # not from a file: those are bounded
        raise ConfigError(f"{source}: {error}") from None


def _explain(
    model: type[BaseModel],
    prefix: Location,
    values: Any,
    detail: dict[str, Any],
    source: str,
    overridden: list[Location],
) -> str:
    location = prefix + _real_location(values, tuple(detail["loc"]))
    if any(place[: len(location)] == location[: len(place)] for place in overridden):
        source += " with its overrides"
    key = _dotted(location)
    if detail["type"] == "extra_forbidden":
        return f"{source}: unknown key {key!r}: {_suggest(model, prefix, location)}"
    if detail["type"] == "missing":
        return f"{source}: missing key {key!r}"
    expected = re.sub(r"^Input should be ", "expected ", detail["msg"])
    expected = re.sub(r"^Value error, ", "", expected)
    if detail["type"].startswith("bool_") and str(detail["input"]).lower() in _WORDS:
        expected += f": write {_WORDS[str(detail['input']).lower()]}"
    if not location:
        return f"{source}: {expected}"
    return f"{source}: {key!r} is {_show(detail['input'])}: {expected}"


def _real_location(values: Any, location: Location) -> Location:
    """`location` without the names that pydantic adds for the members of a union."""
    real: list[str | int] = []
    inside = values
    for depth, step in enumerate(location):
        last = depth == len(location) - 1
        if isinstance(inside, dict) and (step in inside or last):
            real.append(step)
            inside = inside.get(step)
        elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
            real.append(step)
            inside = inside[step]
    return tuple(real)


def _dotted(location: Location) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _suggest(model: type[BaseModel], prefix: Location, location: Location) -> str:
    """The nearest known key: a neighbour if one is close, else the same name elsewhere."""
    parent, name = location[:-1], str(location[-1])
    known = list(_known_keys(model, ()))
    inside = tuple(step for step in parent[len(prefix) :] if isinstance(step, str))
    neighbours = [keys[-1] for keys in known if keys[:-1] == inside]
    near = get_close_matches(name, neighbours, n=1, cutoff=0.5)
    if near:
        return f"did you mean {_dotted((*parent, near[0]))!r}?"
    elsewhere = {keys[-1]: keys for keys in known}
    far = get_close_matches(name, list(elsewhere), n=1, cutoff=0.7)
    if far:
        return f"did you mean {_dotted((*prefix, *elsewhere[far[0]]))!r}?"
    return "known keys here: " + ", ".join(sorted(neighbours)) if neighbours else "no keys go here"


def _known_keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        keys = (*above, field.alias or name)
        yield keys
        for inner in _models_in(field.annotation):
            if len(keys) < 16:  # a model may contain itself
                yield from _known_keys(inner, keys)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _show(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
