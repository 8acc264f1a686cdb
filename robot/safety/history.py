"""The faults that a robot was re-armed from, one JSON line each: when, why, and how long it stood.

Written by who re-arms, which is where nothing waits; read by people.
"""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import datetime, timezone
from pathlib import Path

log = logging.getLogger(__name__)

# Of a pipe, nothing is waited for.
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW


def since(latch: Path) -> float | None:
    """When the latch there was last written, in seconds since 1970; None where it lies elsewhere.
    Who holds because of it writes so, mostly at once."""
    try:
        return latch.lstat().st_mtime
    except OSError:
        return None


def remember(path: Path, reason: str, faulted_at: float | None) -> None:
    """Append a fault that was cleared just now. Where that cannot be written, it is logged and no
    more: a person has re-armed.

    Args:
        path: the history, made where it is not there.
        reason: as it was latched.
        faulted_at: `since`'s.
    """
    line = {"faulted": _clock(faulted_at), "rearmed": _clock(time.time()), "reason": reason}
    try:
        with os.fdopen(os.open(path, _APPENDING, 0o644), "wb") as file:
            file.write(f"{json.dumps(line)}\n".encode())
    except OSError as error:
        log.warning("%s: this fault is not in the history: %s", path, error)


def _clock(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a file's time may be any number
        return None
