"""Reading a file by a name that somebody else may have put anything behind.

A pipe would be waited for until somebody writes, and opening a device may do something. Must not
know what is read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {  # of what may stand in a file's place, by `stat.S_IFMT`
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """The file at `path`, links followed, open to read; nothing is waited for.

    Raises `OSError` with its name: as opening does, and for what is no regular file.
    """
    _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - before a device is touched
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        require_regular(descriptor, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """All of it. Raises `OSError` as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def require_regular(descriptor: int, path: Path) -> None:
    """Raise `OSError` naming `path` where what is open is no regular file."""
    _require_regular(os.fstat(descriptor).st_mode, path)


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = KINDS.get(stat.S_IFMT(mode), "something else")
    raise OSError(errno.EINVAL, f"is {kind}, expected a file", str(path))
