"""The folder beside a dataset's, that holds what is done of it until it is whole.

Knows the folder, its lock and what was asked for; not how episodes come about.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fieldtune.lock import Held, exclusive
from fieldtune.own_files import digest

SIMULATION = {"fieldtune's simulation": digest(("", "sim"))}  # that its episodes are of


class CannotResume(Exception):
    """The folder cannot be gone on from. The message names it, what is wrong and the cure."""


def unfinished_folder(folder: Path) -> Path:
    """Where a dataset that will be in `folder` is kept until it is whole."""
    return folder.with_name(f".{folder.name}.collecting")


@contextmanager
def unfinished(folder: Path) -> Iterator[None]:
    """Open or make `folder` for one process; remove it when the block ends well.

    Raises:
        CannotResume: another process, which is named, is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(folder / "lock"))
        except Held as error:
            raise CannotResume(
                f"{folder}: process {error.holder} is collecting this dataset"
            ) from None
        for left in folder.glob(".*.tmp"):  # by a kill in the middle of a write
            left.unlink()
        yield
    shutil.rmtree(folder)  # with the lock let go: a network's file system keeps what is open


def require_same(folder: Path, before: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `CannotResume` where `folder` was begun with another value of any key of `asked`."""
    for key, value in asked.items():
        if before.get(key) != value:
            raise CannotResume(
                f"{folder}: an unfinished dataset, begun with {key} = {before.get(key)!r}, now "
                f"{value!r}: go on with {before.get(key)!r}, or remove the folder to begin again"
            )
