"""The latched fault on disk: it outlives the process, so that no supervisor re-arms by restarting.

Whoever writes the file stops the robot: the daemon watches it. Knows one small text file, whose
last line says who holds the robot still because of it. It does not know what a fault is.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from export.atomic import sync

log = logging.getLogger(__name__)

_HELD = "\nheld by process "


def latched(path: Path) -> str | None:
    """Why the robot is latched, or None. An empty file, as after a full disk, latches too."""
    text = _read(path)
    return None if text is None else text.partition(_HELD)[0].strip() or "unknown fault"


def held_by(path: Path) -> str | None:
    """The process that holds the robot still because of the latch; None where none has said so."""
    text = _read(path) or ""
    return text.partition(_HELD)[2].strip() or None


def confirm(path: Path) -> None:
    """Say in a latch that is there: this process holds the robot still."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:  # a person was faster
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{_HELD}{os.getpid()}\n")


def latch(path: Path, reason: str) -> None:
    """Latch `reason` durably; an earlier fault is kept. On a full disk its text may be lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return
    try:
        os.write(descriptor, f"{reason}\n".encode())
        os.fsync(descriptor)
    except OSError as error:  # the file is there, and that is what latches
        log.error("%s: latched, but why cannot be written: %s", path, error)
    finally:
        os.close(descriptor)
    sync(path.parent)


def release(path: Path) -> None:
    """Forget the fault. Only for code that a person has asked to."""
    path.unlink(missing_ok=True)
    sync(path.parent)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
