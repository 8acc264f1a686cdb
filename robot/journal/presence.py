"""Whether a journal that is open is still the one at its path.

A file that is deleted or moved goes on to take what is written into it, and nobody ever finds it
there. Knows files and SQLite's log beside the database; not what is written, nor what is done about
a journal that is lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from fieldtune.regular_file import open_regular


@dataclass(frozen=True)
class Lost:
    """What has become of the journal. `moved_to` is where its file is now, None where it has no
    name any more; `whole` is False where a part of it was cut off."""

    said: str
    moved_to: Path | None
    whole: bool = True


class Presence:
    """Of the journal at `path`, which `connection` has open, and of what lies beside it.

    Belongs to the connection's thread, and to the one connection that may shorten the journal.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        # O_PATH: closing it does not take SQLite's locks away, as closing any other would.
        self._descriptor: int | None = os.open(path, os.O_PATH | os.O_CLOEXEC)
        beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", ".lock")]
        there = [path, *(each for each in beside if each.exists())]
        self._known = {str(each): _identity(each.stat()) for each in there}
        self._name, self._log_name = str(path), str(beside[0])
        has_log = self._log_name in self._known  # SQLite has none where a disk cannot share memory
        self._log_file = open_regular(beside[0]) if has_log else None
        self._least_log_bytes = beside[0].stat().st_size if has_log else 0
        self._least_bytes = 0
        self.note_length()

    def note_length(self) -> None:
        """The connection may have shortened the journal since the last look."""
        with contextlib.suppress(OSError):  # the next look says so
            self._least_bytes = min(self._path.stat().st_size, self._pages_bytes())

    def look(self) -> Lost | None:
        """What has become of it; None while all is well. A few microseconds."""
        for path, known in self._known.items():
            try:
                status = os.stat(path)  # noqa: PTH116 - a Path takes as long again
            except OSError as error:
                return self._gone(path, f"is gone ({error.strerror})")
            if _identity(status) != known:
                return self._gone(path, "is another file now")
            if path == self._name and status.st_size < self._least_bytes:
                return self._cut(path, _shorter(status.st_size, self._least_bytes))
            if path == self._log_name:
                if 0 < status.st_size < self._least_log_bytes:
                    return self._cut(path, _shorter(status.st_size, self._least_log_bytes))
                if status.st_size and not self._log_has_beginning():
                    return self._cut(path, "its beginning is gone")
                self._least_log_bytes = status.st_size
        return None

    def clear(self) -> None:
        """Delete the log where the journal's path no longer leads to its file: SQLite would take it
        for the log of whatever journal is put there. Only once all of it is saved."""
        if self._is_known(self._name):
            return
        for name in [name for name in self._known if name.endswith(("-wal", "-shm"))]:
            if self._is_known(name):
                with contextlib.suppress(OSError):
                    Path(name).unlink()

    def close(self) -> None:
        """Safe to call twice."""
        if self._log_file is not None:
            self._log_file.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_known(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            return _identity(Path(name).stat()) == self._known[name]
        return False

    def _gone(self, path: str, what: str) -> Lost:
        """`path` is not where it was; the database itself may be."""
        moved_to = self._whereabouts()
        how = "deleted or moved"
        if path == self._name and moved_to is not None:
            how = f"moved to {moved_to}"
        return Lost(f"{path} {what}: it was {how} while the journal was recorded into", moved_to)

    def _cut(self, path: str, how: str) -> Lost:
        said = f"{path} was cut off while the journal was recorded into: {how}"
        return Lost(said, self._whereabouts(), whole=False)

    def _log_has_beginning(self) -> bool:
        """False where it was cut to nothing and written on behind; SQLite itself begins anew."""
        assert self._log_file is not None
        return os.pread(self._log_file.fileno(), 4, 0) != bytes(4)

    def _whereabouts(self) -> Path | None:
        """The file's name now, wherever it was moved to."""
        assert self._descriptor is not None
        with contextlib.suppress(OSError):
            name = Path(f"/proc/self/fd/{self._descriptor}").readlink()
            if _identity(name.stat()) == _identity(os.fstat(self._descriptor)):
                return name
        return None

    def _pages_bytes(self) -> int:
        page_bytes, pages = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count")
        )
        return page_bytes * pages


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _shorter(size: int, expected: int) -> str:
    return f"{size} bytes, expected {expected} or more"
