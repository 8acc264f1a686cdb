"""A file that one process holds at a time; the kernel frees it when that process dies.

Says who holds it. Must not know what is done meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import Self

from fieldtune.regular_file import require_regular


class Held(Exception):
    """Another process has it. `holder` is that process's number, "unknown" at worst."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path}: held by process {holder}")
        self.holder = holder


class FileLock:
    """The file at `path`, held by this process through `descriptor` until `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Hold the file `path`, made where it is missing.

        Raises:
            Held: another process holds it; nothing was waited for.
            OSError: no such folder, no permission, or a file system without locks.
        """
        return cls(path, _take(path))

    def release(self, *, remove: bool = False) -> None:
        """Let go of the file, and `remove` it first where it is to leave no trace.

        Safe to call twice.
        """
        if self._descriptor is None:
            return
        if remove:
            with contextlib.suppress(OSError):
                # Its folder may have been removed, and made anew by others. While it is held: who
                # opened it before looks whether it is there.
                if _is(self._descriptor, self.path):
                    self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the file `path`, made where it is missing and removed at the end, for one block.

    Raises:
        Held, OSError: as `FileLock.take`.
    """
    lock = FileLock.take(path)
    try:
        yield
    finally:
        lock.release(remove=True)


def holder(path: Path) -> str | None:
    """The process that holds the file, "unknown" at worst; None where none does. Never waits.

    Raises:
        OSError: no permission, or a file system without locks.
    """
    try:
        # Not waiting for a pipe in its place: the robot's emergency stop asks this.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(descriptor)
    finally:
        os.close(descriptor)
    return None


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
        try:
            require_regular(descriptor, path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, path):
                with contextlib.suppress(OSError):  # a full disk costs the next error its number
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BlockingIOError:
            number = _written(descriptor)
            os.close(descriptor)
            raise Held(path, number) from None
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from error
        os.close(descriptor)  # its holder has removed it meanwhile


def _written(descriptor: int) -> str:
    """The number that the holder of the open file has written into it."""
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
