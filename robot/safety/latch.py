"""The latched fault on disk: it outlives the process, so that no supervisor re-arms by restarting.

Whoever puts something at that path stops the robot: the daemon watches it. Mostly that is a small
text file, one line of which says who holds the robot still because of it; a folder, a pipe or a
link to nowhere latches too, and is never waited for. It does not know what a fault is.

Several threads and processes may write at once: all of them append, so that none loses what another
has written, in whatever order.

Where its own folder takes no file, a fault is latched outside of it, in the machine's temporary
folders: on another disk mostly, and in memory.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import re
import stat
from pathlib import Path

from fieldtune.file_errors import naming
from fieldtune.files import sync, write_atomically
from fieldtune.regular_file import KINDS
from fieldtune.robot.rationed_log import printable

log = logging.getLogger(__name__)

_HELD = re.compile(r"^held by process ([0-9]+)$\n?", re.MULTILINE)
_APPENDING = os.O_WRONLY | os.O_APPEND
_FOR = "\nlatches "  # outside of its folder: which robot that is, for who finds it
_LONGEST = 65_536
# The first outlives a restart of the machine, but is a service's own under PrivateTmp; the second
# is memory, whatever becomes of disks.
_OUTSIDE = ("/var/tmp", "/dev/shm")


def latched(path: Path) -> str | None:
    """Why the robot is latched, there or outside of its folder, or None.

    An empty file, as after a full disk, latches too.

    Raises `OSError` where it cannot be known whether anything is there.
    """
    text = _read(path)
    if text is None:
        text = _read_outside(path)
    return None if text is None else _HELD.sub("", text).strip() or "unknown fault"


def held_by(path: Path) -> str | None:
    """The process that holds the robot still because of the latch; None where none has said so."""
    found = _HELD.search(_read(path) or "")
    return None if found is None else found[1]


def confirm(path: Path) -> None:
    """Say in a latch that is there: this process holds the robot still. Raises `OSError`."""
    try:
        descriptor = os.open(path, _APPENDING | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:  # a person was faster
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"\nheld by process {os.getpid()}\n")


def latch(path: Path, reason: str) -> None:
    """Latch `reason` durably; an earlier fault is kept. On a full disk its text may be lost.

    What is there and is no text file is replaced by one, where that can be done in one step.

    Raises `OSError` where that cannot be; it is latched outside of the folder then.
    """
    text = _printable(reason)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _latch(path, text)
    except OSError:
        try:
            _latch_outside(path, text)
        except OSError as error:
            log.error("%s: cannot be latched elsewhere either: %s", path, error)
        raise


def latch_twice(path: Path, reason: str) -> None:
    """Latch outside of the folder too, which may not be the one it was. Raises `OSError` where not
    both can be."""
    _latch_outside(path, _printable(reason))
    latch(path, reason)


@functools.lru_cache(maxsize=8)  # asked every 20 ms
def outside(path: Path) -> tuple[Path, ...]:
    """Where a latch goes that its own folder does not take, or that is to outlive that folder."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return tuple(Path(folder) / f"fieldtune-fault-{name}" for folder in _OUTSIDE)


def _latch_outside(path: Path, text: str) -> None:
    """In each that takes it. Raises `OSError` where none does: also where only files of strangers
    are there, which nobody would believe."""
    errors = []
    for place in outside(path):
        try:
            _latch(place, f"{text}{_FOR}{path}")
            if not _trusted(place, path):
                raise PermissionError(errno.EACCES, "another user's file is there", str(place))
        except OSError as error:
            errors.append(error)
    if len(errors) == len(_OUTSIDE):
        raise errors[0]


def _printable(reason: str) -> str:
    return "\n".join(map(printable, _HELD.sub("", reason).split("\n")))


def _latch(path: Path, text: str) -> None:
    try:
        descriptor = _made(path)
    except FileExistsError:
        odd = _odd(path)
        if odd is not None:  # latched already; this is for those who want to read or confirm it
            more = "" if odd in text else f" ({odd})"
            with contextlib.suppress(OSError):
                write_atomically(path, f"{text}{more}\n".encode(), over_anything=True)
        return
    try:
        os.write(descriptor, f"{text}\n".encode())
        os.fsync(descriptor)
    except OSError as error:  # the file is there, and that is what latches
        log.error("%s: latched, but why cannot be written: %s", path, error)
    finally:
        os.close(descriptor)
    sync(path.parent)


def reserve(path: Path) -> None:
    """Keep a file ready to become the latch: on a disk full of files no other can be made."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _spare(path).touch()


def _made(path: Path) -> int:
    """A descriptor of the latch's new file. Raises `OSError`."""
    try:
        return os.open(path, _APPENDING | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        try:  # emptied before it latches: what is written into a latch is never taken back
            descriptor = os.open(
                _spare(path), _APPENDING | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW
            )
        except OSError:
            raise error from None
        try:
            _spare(path).rename(path)
        except OSError:
            os.close(descriptor)
            raise error from None
        return descriptor


def _spare(path: Path) -> Path:
    return path.with_name(f".{path.name}.spare")


def release(path: Path) -> None:
    """Forget the fault, wherever it is latched. Only for code that a person has asked to.

    Raises `OSError`, for instance for a folder with something in it.
    """
    for place in outside(path):
        if _trusted(place, path):
            place.unlink(missing_ok=True)
    if not os.path.lexists(path):
        return
    try:
        if _spare(path).exists() or not stat.S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)
        else:  # kept ready for the next one
            path.rename(_spare(path))
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        path.rmdir()
    sync(path.parent)


def _read(path: Path) -> str | None:
    """What is written there, or what stands there instead; None where nothing is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:
        odd = _odd(path)
        if odd is None:
            raise
        return odd
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _odd(path)
        with naming(path):
            return os.read(descriptor, _LONGEST).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _read_outside(path: Path) -> str | None:
    for place in outside(path):
        if _trusted(place, path) and (text := _read(place)) is not None:
            return text.partition(_FOR)[0]
    return None


def _trusted(place: Path, path: Path) -> bool:
    """Whether it is there, by root, this user, or who owns the latch's own folder: everybody may
    write into temporary folders."""
    try:
        owner = place.lstat().st_uid
    except OSError:
        return False
    try:
        return owner in (0, os.geteuid(), path.parent.stat().st_uid)
    except OSError:
        return owner in (0, os.geteuid())


def _odd(path: Path) -> str | None:
    """What stands there where that is no file that can be read; None for one, or for nothing."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    kind = KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        return f"{kind} stands in the place of {path}"
    return None if os.access(path, os.R_OK) else f"{path} cannot be read"
