"""The latched fault on disk: it outlives the process, so that no supervisor re-arms by restarting.

Knows one small text file. It does not know what a fault is.
"""

from __future__ import annotations

import os
from pathlib import Path


def latched(path: Path) -> str | None:
    """Why the robot is latched, or None."""
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown fault"
    except FileNotFoundError:
        return None


def latch(path: Path, reason: str) -> None:
    """Latch `reason` durably; an earlier fault is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(reason + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def release(path: Path) -> None:
    """Forget the fault. Only for code that a person has asked to."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
