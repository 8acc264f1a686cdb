"""The bundle files in a robot's state folder: which there are, and which nobody needs any more.

Knows names, times and sizes of files, and ids; not which a robot may run.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Sequence, Set
from pathlib import Path

from fieldtune.export.bundle import Bundle, BundleError, bundle_id, read_bundle
from fieldtune.robot.journal.quota import folder_bytes

log = logging.getLogger(__name__)

KEPT = 20  # newest ones, whoever needs them
_FETCHED = re.compile(r"[0-9a-f]{64}\.bundle")


def stored_bundles(folder: Path) -> list[Path]:
    """The bundle files in `folder`, newest first; none of them is checked yet."""
    found = []
    for path in folder.glob("*.bundle"):
        with contextlib.suppress(FileNotFoundError):  # the daemon has just deleted it
            found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for *_, path in sorted(found, reverse=True)]


def kept_beside(journal: Path) -> list[Path]:
    """The folders beside a journal in which bundles are kept: those of tasks, too."""
    return [journal.parent / "bundles", journal.parent / "tasks"]


def bundle_of_id(wanted: str, folders: Sequence[Path]) -> Bundle | None:
    """The verified bundle of that id, whatever its file is called; None where none of `folders` has
    it whole."""
    for folder in folders:
        by_name = folder / f"{wanted}.bundle"
        others = (path for path in sorted(folder.glob("*.bundle")) if path != by_name)
        for path in (by_name, *others):
            try:
                if bundle_id(path) == wanted:
                    return read_bundle(path, wanted)
            except BundleError:  # not the one, or of no use
                continue
    return None


def forget_bundles(folder: Path, needed: Set[str]) -> list[Path]:
    """Delete what came from a trainer, is not among the newest `KEPT`, and has no id in `needed`.

    Files under other names were put there by somebody, and stay. Returns what was deleted.
    """
    forgotten = []
    for path in _from_trainer(folder, KEPT, needed):
        if _delete(path):
            forgotten.append(path)
    if forgotten:
        log.info("%s: %d old bundles deleted, which no episode here ran", folder, len(forgotten))
    return forgotten


def make_room(folder: Path, size: int, limit_bytes: int | None, needed: Set[str]) -> str:
    """Delete old bundles of the trainer's until there is room for a new one.

    Args:
        folder: where bundles are kept.
        size: of the new one, in bytes.
        limit_bytes: what all files in the folder may take; None: anything.
        needed: ids of bundles that stay.

    Returns:
        Why there is no room, or empty.
    """
    if limit_bytes is None:
        return ""
    oldest_first = iter(_from_trainer(folder, 0, needed)[::-1])
    while (used := folder_bytes(folder)) + size > limit_bytes:
        path = next(oldest_first, None)
        if path is None:
            return (
                f"{folder} holds {used / 1e6:.1f} MB that must stay, and {size / 1e6:.1f} MB more "
                f"are above its {limit_bytes / 1e6:g} MB: raise robot.journal_quota_mb, of which "
                "bundles may take half, or export smaller networks"
            )
        if _delete(path):
            log.info("%s is deleted to make room for a new bundle", path)
    return ""


def _from_trainer(folder: Path, newest: int, needed: Set[str]) -> list[Path]:
    """What came from a trainer but for the `newest` files and what is `needed`, newest first."""
    return [
        path
        for path in stored_bundles(folder)[newest:]
        if _FETCHED.fullmatch(path.name) is not None and path.stem not in needed
    ]


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error)
        return False
    return True
