"""Opening a journal to read it, also where nothing may be written.

SQLite writes beside a journal in order to read it. A read-only mount, a stick, another user's
folder or a full disk refuse that; what is there can be read all the same. Knows files and SQLite;
does not know what a journal says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from fieldtune.robot.journal.file import JournalError, connect, writer


def connect_to_read(path: Path, closing: contextlib.ExitStack) -> sqlite3.Connection:
    """A connection that only reads the journal at `path`.

    What it needs beside itself goes when `closing` does. Raises `JournalError`.
    """
    try:
        _require_readable(path)
        return connect(path, create=False, read_only=True)
    except OSError as error:
        raise JournalError(_cannot(path, error)) from error
    except JournalError as error:
        refused = isinstance(error.__cause__, sqlite3.OperationalError)
        if not refused or _is_recorded_into(path):
            raise
        return _connect_aside(path, closing, error)


def _connect_aside(
    path: Path, closing: contextlib.ExitStack, refused: JournalError
) -> sqlite3.Connection:
    """Without SQLite's files beside it, which nobody who records needs now.

    Where a log is left that must be read with the journal, a copy of both is read.
    """
    log = path.with_name(path.name + "-wal")
    try:
        if not log.exists() or log.stat().st_size == 0:
            return connect(path, create=False, read_only=True, unchanging=True)
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="journal-")))
        for file in (path, log):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise JournalError(
            f"{refused}; a copy of it in {tempfile.gettempdir()}: {error}"
        ) from error
    try:
        return connect(folder / path.name, create=False, read_only=True)
    except JournalError as error:
        raise JournalError(str(error).replace(str(folder), str(path.parent))) from error


def _is_recorded_into(path: Path) -> bool:
    """SQLite's files are there then, and it need not write them to read."""
    with contextlib.suppress(OSError):  # another user's: it may be
        return writer(path) is not None
    return False


def _require_readable(path: Path) -> None:
    """Raises `OSError`; asks without opening, which would take this process's locks away."""
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists() and not os.access(file, os.R_OK):
            raise PermissionError(13, "Permission denied", str(file))


def _cannot(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be read: {error.strerror}: read it as the user who records, or have the "
        "file and its -wal made readable"
    )
