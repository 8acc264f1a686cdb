"""A process that says twice a second, in one small file, that it is alive and what it does.

Holds the file, its writer and what a reader may conclude. It must not know what is told.

A file and not a socket: nothing listens, so nothing can be attacked or blocked; whoever looks needs
no answer, and a dead process leaves its last words. It is replaced in one step, so a reader sees
all of it or the one before, but never synced to the disk: nobody needs it after a power cut, and a
sync would take its turn with the journal's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from typing_extensions import Self

from fieldtune.regular_file import read_regular

log = logging.getLogger(__name__)

EVERY_S = 0.5
SILENT_S = 2.5  # four beats missed

# Not waiting for a pipe that somebody has put there.
_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

T = TypeVar("T")


class HeartbeatError(Exception):
    """The file cannot be read. The message says why."""


class Beat(msgspec.Struct, Generic[T], frozen=True, forbid_unknown_fields=True):
    """One beat. `beat_ns` is the machine's monotonic clock within `boot`, `wall_ns` the wall clock.

    `over` is true in the last one of a process that ended by itself.
    """

    pid: int
    boot: str
    beat_ns: int
    wall_ns: int
    over: bool
    told: T

    @property
    def age_s(self) -> float:
        """Seconds since this beat; infinite where the machine has been started since."""
        if not self.of_this_start:
            return float("inf")
        return (time.monotonic_ns() - self.beat_ns) / 1e9

    @property
    def alive(self) -> bool:
        """Whether that process is there and has been heard of lately."""
        return not self.over and self.age_s < SILENT_S and _exists(self.pid)

    @property
    def of_this_start(self) -> bool:
        """Whether this machine wrote it, and has not been started since."""
        return self.boot == boot_id()


def boot_id() -> str:
    """Which start of this machine the monotonic clock counts from; empty where nobody says."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def read(path: Path, told: type[T]) -> Beat[T] | None:
    """The latest beat; None where there never was one. Raises `HeartbeatError`."""
    try:
        return msgspec.json.decode(read_regular(path), type=Beat[told])  # type: ignore[valid-type]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HeartbeatError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HeartbeatError(f"{path}: cannot be read: {error}: delete it") from error


class Heart(Generic[T]):
    """Writes what `tell()` says into `path`, on a thread of its own."""

    def __init__(self, path: Path, tell: Callable[[], T], every_s: float = EVERY_S) -> None:
        self.path = path
        self._tell = tell
        self._every_s = every_s
        self._boot = boot_id()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say the last word. Safe to call twice."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None
            self._beat(over=True)

    def _run(self) -> None:
        while True:
            self._beat(over=False)
            if self._closing.wait(self._every_s):
                return

    def _beat(self, *, over: bool) -> None:
        try:
            told = self._tell()
            beat = Beat(os.getpid(), self._boot, time.monotonic_ns(), time.time_ns(), over, told)
            self._replace(msgspec.json.encode(beat))
            self._failed = ""
        except Exception as error:  # who watches must never stop what is watched
            if str(error) != self._failed:
                log.warning("%s: cannot be written: %s", self.path, error)
            self._failed = str(error)

    def _replace(self, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            descriptor = os.open(beside, _ANEW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            beside.replace(self.path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
