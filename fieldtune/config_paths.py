"""Where a relative path in settings starts: in the folder of whoever wrote it.

What a file names starts in the file's own folder, the same for every command from every folder;
what a person types on a command line starts where she types it. `~` is a home folder. Every `Path`
of a model is one; text is where its field says so. Knows text, models and folders, and nothing of
what lies there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from typing_extensions import Self

Model = TypeVar("Model", bound=BaseModel)
Mark = TypeVar("Mark")
Location = tuple[str | int, ...]

_VARIABLE = re.compile(r"(^|/)\$(\w+|\{)")


@dataclass(frozen=True)
class PathText:
    """Marks a field of text that is a path where it begins with `prefix` and no other scheme."""

    prefix: str = ""

    def rest(self, text: str) -> str | None:
        """What of `text` is a path; None where nothing is."""
        rest = text.removeprefix(self.prefix)
        if not text.startswith(self.prefix) or "://" in rest:
            return None
        return None if self.prefix and rest.startswith(("@", "*")) else rest  # ZMQ's nameless ones


@dataclass(frozen=True)
class FolderOf:
    """Marks a folder that is, where not given, the one in which the key `key` was written."""

    key: str


class PathError(ValueError):
    """A path that cannot be meant. `location` is its key, `text` what stands there."""

    def __init__(self, location: Location, text: str, problem: str) -> None:
        super().__init__(problem)
        self.location, self.text, self.problem = location, text, problem


class Written(str):
    """Text that remembers the folder in which it was written."""

    folder: Path | None

    def __new__(cls, text: str, folder: Path | None = None) -> Self:
        made = super().__new__(cls, text)
        made.folder = folder
        return made


def written(value: Any, folder: Path) -> Any:
    """Plain data whose text, at any depth, was written in `folder`."""
    if isinstance(value, str):
        return Written(value, folder)
    if isinstance(value, list):
        return [written(one, folder) for one in value]
    if isinstance(value, dict):
        return {key: written(one, folder) for key, one in value.items()}
    return value


def rooted(model: Model, raw: Any, folder: Path | None, location: Location = ()) -> Model:
    """The same settings with absolute paths.

    Args:
        raw: what `model` was read from, its text `Written`. What is not there is a default.
        folder: where a default starts, and text of which no folder is known; None leaves such
            paths as they are.
        location: the key of `model` itself.

    Raises `PathError`.
    """
    raw = raw if isinstance(raw, Mapping) else {}
    changed: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        before, key = getattr(model, name), field.alias or name
        beside = _mark(field.metadata, FolderOf)
        start = folder if beside is None else _folder(raw.get(beside.key)) or folder
        text = _mark(field.metadata, PathText)
        after = _rooted(before, raw.get(key), start, (*location, key), text)
        if after is not before:
            changed[name] = after
    made = model.model_copy(update=changed) if changed else model
    extra = model.model_extra
    if extra and any(isinstance(raw.get(key), str | list | dict) for key in extra):
        # A plug-in's: whether a text is a path is for its own model to say.
        made = made.model_copy(update={key: raw.get(key, extra[key]) for key in extra})
    return made


def _rooted(
    value: Any, raw: Any, folder: Path | None, location: Location, mark: PathText | None
) -> Any:
    if isinstance(value, BaseModel):
        return rooted(value, raw, folder, location)
    if isinstance(value, Path):
        text = raw if isinstance(raw, str) else str(value)
        place = _place(text, _folder(raw) or folder, location)
        return value if place == str(value) else Path(place)
    if isinstance(value, str) and mark is not None:
        path = mark.rest(value)
        if path is None:
            return value
        return value.removesuffix(path) + _place(path, _folder(raw) or folder, location)
    if isinstance(value, tuple | list):
        raws = raw if isinstance(raw, list) and len(raw) == len(value) else [None] * len(value)
        parts = [
            _rooted(one, raws[index], folder, (*location, index), mark)
            for index, one in enumerate(value)
        ]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if isinstance(value, dict):
        raws_by_key = raw if isinstance(raw, Mapping) else {}
        found = {
            key: _rooted(one, raws_by_key.get(key), folder, (*location, key), mark)
            for key, one in value.items()
        }
        return value if all(found[key] is value[key] for key in value) else found
    return value


def _mark(metadata: list[Any], kind: type[Mark]) -> Mark | None:
    return next((mark for mark in metadata if isinstance(mark, kind)), None)


def _folder(raw: Any) -> Path | None:
    """Where `raw`, or the first of a list, was written."""
    if isinstance(raw, list) and raw:
        raw = raw[0]
    return raw.folder if isinstance(raw, Written) else None


def _place(text: str, folder: Path | None, location: Location) -> str:
    if not text:
        raise PathError(location, text, "expected a path: `.` is the folder itself")
    if "\0" in text:
        raise PathError(location, text, "expected a path without a zero byte")
    if _VARIABLE.search(text):
        raise PathError(location, text, "variables are not expanded here: write the path itself")
    try:
        home = Path(text).expanduser()
    except RuntimeError:
        problem = f"no home folder is known for {text.split('/')[0]!r}: write the whole path"
        raise PathError(location, text, problem) from None
    # Not resolve(): a link stays what the person named.
    return str(home) if folder is None else os.path.normpath(folder / home)
