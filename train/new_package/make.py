"""Makes a package of a user's own from the templates beside this file.

Knows which templates make which kind, and writes all of a package or nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template

from fieldtune.errors import UserError
from fieldtune.file_errors import naming
from fieldtune.train.new_package.name import PackageName

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".template"


class Kind(StrEnum):
    """What a package brings."""

    FAMILY = "family"
    DRIVER = "driver"
    ROBOT = "robot"


# Folders of templates; a later one replaces files of the same name in those before it.
PARTS: dict[Kind, tuple[str, ...]] = {
    Kind.FAMILY: ("shared", "family"),
    Kind.DRIVER: ("shared", "driver"),
    Kind.ROBOT: ("shared", "family", "driver", "robot"),
}


class CannotMake(UserError):
    """The folder of a new package cannot be made. The message says which, and the cure."""


@dataclass(frozen=True)
class NewPackage:
    """What was made: its folder, and its files' paths within, sorted."""

    folder: Path
    files: tuple[str, ...]


def make(kind: Kind, name: PackageName, parent: Path) -> NewPackage:
    """Write the package `name` as a folder in `parent`.

    Args:
        kind: what the package brings.
        name: of package, entry points and folder.
        parent: an existing folder.

    Raises:
        CannotMake: the folder is there already, or `parent` is none.
        OSError: no space or no permission, with the folder's name. Nothing of it is left.
    """
    folder = parent / name.name
    if not parent.is_dir():
        raise CannotMake(f"--into {parent}: no such folder; make it first")
    if os.path.lexists(folder):
        raise CannotMake(f"{folder} is there already: choose another name, or another --into")
    texts = contents(kind, name)
    with naming(folder):
        made = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name.name}."))
        try:
            for place, text in texts.items():
                (made / place).parent.mkdir(parents=True, exist_ok=True)
                (made / place).write_text(text, encoding="utf-8")
            made.chmod(0o777 & ~_umask())
            _rename(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return NewPackage(folder, tuple(sorted(texts)))


def contents(kind: Kind, name: PackageName) -> dict[str, str]:
    """The text of every file by its path in the package."""
    words = {"name": name.name, "module": name.module, "kind": name.class_name}
    found: dict[str, str] = {}
    for part in PARTS[kind]:
        root = TEMPLATES / part
        for file in sorted(root.rglob(f"*{SUFFIX}")):
            place = file.relative_to(root).as_posix().removesuffix(SUFFIX)
            text = Template(file.read_text(encoding="utf-8")).substitute(words)
            found[place.replace("__module__", name.module)] = text
    return found


def _rename(made: Path, folder: Path) -> None:
    """A folder made meanwhile is kept: an empty one alone would be replaced unasked."""
    if os.path.lexists(folder):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    made.rename(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
