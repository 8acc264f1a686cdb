"""The bundle files in a robot's state folder: which there are, and which nobody needs any more.

Knows names and times of files; not what is in them, nor which a robot may run.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Set
from pathlib import Path

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


def forget_bundles(folder: Path, needed: Set[str]) -> list[Path]:
    """Delete what came from a trainer, is not among the newest `KEPT`, and has no id in `needed`.

    Files under other names were put there by somebody, and stay. Returns what was deleted.
    """
    forgotten = []
    for path in stored_bundles(folder)[KEPT:]:
        if _FETCHED.fullmatch(path.name) is None or path.stem in needed:
            continue
        try:
            path.unlink()
        except OSError as error:
            log.warning("%s cannot be deleted: %s", path, error)
        else:
            forgotten.append(path)
    if forgotten:
        log.info("%s: %d old bundles deleted, which no episode here ran", folder, len(forgotten))
    return forgotten
