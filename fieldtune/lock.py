"""A file that one process holds at a time; the kernel frees it when that process dies.

Says who holds it. Must not know what is done meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Held(Exception):
    """Another process has it. `holder` is that process's number, "unknown" at worst."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path}: held by process {holder}")
        self.holder = holder


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the file `path`, made where it is missing and removed at the end, for one block.

    Raises:
        Held: another process holds it; nothing was waited for.
        OSError: no such folder, no permission, or a file system without locks.
    """
    descriptor = _take(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is(descriptor, path):  # its folder may have been removed, and made anew by others
                path.unlink()  # while it is held: who opened it before looks whether it is there
        os.close(descriptor)


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, path):
                with contextlib.suppress(OSError):  # a full disk costs the next error its number
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Held(path, holder) from None
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from error
        os.close(descriptor)  # its holder has removed it meanwhile


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
