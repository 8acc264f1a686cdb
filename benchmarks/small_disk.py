"""A disk of a few megabytes, to be filled to the last byte and freed again.

A tmpfs, so it needs the right to mount: root, or CAP_SYS_ADMIN in a container. It knows nothing of
robots.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

_PIECES = (1 << 20, 1 << 16, 1 << 12)  # a page is the least that a tmpfs gives


class NotPermitted(Exception):
    """No disk can be mounted here. The message says what it takes."""


class SmallDisk:
    """Mounted at `path` inside the block; raises `NotPermitted` on entering it."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        self._megabytes = megabytes
        self._filler = path / "filler"

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        size = f"size={self._megabytes}m"
        command = ["mount", "-t", "tmpfs", "-o", size, "fieldtune-proof", str(self.path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise NotPermitted(f"{command[0]}: {error}") from error
        if done.returncode != 0:
            raise NotPermitted(
                f"{done.stderr.strip()}: this proof fills a disk of its own: run it as root, or in "
                "a container with CAP_SYS_ADMIN"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no page free."""
        filler = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in _PIECES:
                self._write(filler, bytes(size))
        finally:
            os.close(filler)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def _write(self, filler: int, piece: bytes) -> None:
        while True:
            try:
                if os.write(filler, piece) < len(piece):
                    return
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return
