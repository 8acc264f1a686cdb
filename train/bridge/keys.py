"""The trainer's keys: its own, and the list of robots that may talk to it.

    FOLDER/trainer.key    the trainer's secret key
    FOLDER/robots         one line a robot: its name, its public key

Knows files, no sockets (train/bridge/authentication.py). Everything fails closed: a list that
cannot be read allows nobody.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fieldtune.files import write_atomically
from fieldtune.regular_file import open_regular
from fieldtune.robot.curve_keys import (
    KeyPair,
    KeysError,
    check_public,
    new_pair,
    read_secret,
    write_secret,
)

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LINE = re.compile(r"(\S+) (\S+)")
_HEADER = "fieldtune allowed robots"
_VERSION = "1"


class Allowed:
    """Which public key is which robot's. The file is read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._read_at: tuple[int, ...] | None = None
        self._names: dict[str, str] = {}

    def name_of(self, public: str) -> str | None:
        """The robot whose key this is now; None for a key that is not, or no longer, allowed."""
        try:
            read_at = _fingerprint(self.path.stat())
        except OSError:
            read_at = ()
        if read_at != self._read_at:
            self._read_at = read_at
            try:
                self._names = {key: name for name, key in self.entries().items()}
            except KeysError as error:
                self._names = {}
                log.error("no robot is allowed until this is mended: %s", error)
        return self._names.get(public)

    def entries(self) -> dict[str, str]:
        """Public key by robot, in the order of the file; empty where there is no file.

        Raises:
            KeysError: the file is not such a list, or others could write it.
        """
        try:
            with open_regular(self.path) as file:
                status, content = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise KeysError(f"{self.path}: cannot be read: {error.strerror}") from None
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeysError(
                f"{self.path}: mode is {stat.S_IMODE(status.st_mode):04o}, so others than its "
                f"owner can let robots in: look at what it allows, then `chmod 600 {self.path}`"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise KeysError(
                f"{self.path}: belongs to user {status.st_uid}, who can let robots in: make it "
                "yours, or root's"
            )
        return _parse(content, self.path)

    def allow(self, name: str, public: str) -> None:
        """Let the robot `name` in by its key. Allowing the same again changes nothing.

        Raises:
            KeysError: name or key cannot be used, or one of them is taken.
        """
        _check_name(name)
        check_public(public, f"the key of {name!r}")
        with self._changing() as entries:
            if entries.get(name, public) != public:
                raise KeysError(
                    f"robot {name!r} has another key: `fieldtune keys revoke {name}` first"
                )
            for other, key in entries.items():
                if key == public and other != name:
                    raise KeysError(
                        f"this is the key of robot {other!r}: a robot has a key of its own, so "
                        f"make one on {name!r} with `fieldtune-robot keys new`"
                    )
            entries[name] = public

    def revoke(self, name: str) -> None:
        """Shut a robot out, from its next message on. Raises `KeysError` for one not allowed."""
        with self._changing() as entries:
            if name not in entries:
                known = ", ".join(entries) or "none"
                raise KeysError(f"robot {name!r} is not allowed; allowed: {known}")
            del entries[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, str]]:
        """The entries, written back when the block ends well; one process at a time.

        A link is followed: a list that trainers share stays the one that all of them read.
        """
        target = Path(os.path.realpath(self.path))  # also where links go round
        if self.path.is_symlink() and not target.exists():
            raise KeysError(
                f"{self.path}: is a link to {target}, and nothing is there: mount or make what it "
                "leads to, or remove the link"
            )
        try:
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                entries = self.entries()
                yield entries
                lines = [f"{_HEADER} {_VERSION}", *(f"{n} {key}" for n, key in entries.items())]
                write_atomically(target, ("\n".join(lines) + "\n").encode(), mode=0o600)
            finally:
                os.close(folder)
        except FileNotFoundError:
            raise KeysError(
                f"{self.path.parent}: no such folder: make the trainer's key first, with "
                "`fieldtune keys new`"
            ) from None
        except OSError as error:
            raise KeysError(f"{self.path}: cannot be written: {error.strerror}") from None


@dataclass(frozen=True)
class TrainerKeys:
    """What a hub needs to know itself and its robots."""

    own: KeyPair
    allowed: Allowed

    def allow(self, name: str, public: str) -> None:
        """As `Allowed.allow`, and never the trainer's own key: it is no robot's secret."""
        if public == self.own.public:
            raise KeysError(
                "this is the trainer's own key: give what `fieldtune-robot keys show` prints on "
                f"{name!r}"
            )
        self.allowed.allow(name, public)

    def require_robots(self) -> None:
        """Raises `KeysError` while no robot is allowed: such a hub could only turn away."""
        if not self.allowed.entries():
            raise KeysError(
                f"{self.allowed.path}: no robot is allowed: `fieldtune-robot keys new` on the "
                "robot, then here `fieldtune keys allow ROBOT KEY`"
            )


def open_keys(folder: Path) -> TrainerKeys:
    """The trainer's keys in a folder. Raises `KeysError` where its own cannot be used."""
    folder = Path(folder)
    own = read_secret(folder / "trainer.key", f"fieldtune keys new --keys {folder}")
    return TrainerKeys(own, Allowed(folder / "robots"))


def make_keys(folder: Path) -> TrainerKeys:
    """Make the trainer's key, in a folder of its own. Raises `KeysError` where there is one."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise KeysError(f"{folder}: cannot be made: {error.strerror}") from None
    write_secret(folder / "trainer.key", new_pair())
    return open_keys(folder)


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    """Another one for another file, other content or other permissions."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,  # changes with the mode and the owner as well
    )


def _parse(content: bytes, path: Path) -> dict[str, str]:
    lines = content.decode("ascii", "replace").removesuffix("\n").split("\n")
    header, _, version = lines[0].rpartition(" ")
    if header != _HEADER:
        raise KeysError(f"{path}: is not a list of allowed robots: its first line is not the title")
    if version != _VERSION:
        raise KeysError(f"{path}: version {version[:20]!r} is unknown, expected {_VERSION}")
    entries: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}, line {number}"
        found = _LINE.fullmatch(line)
        if found is None:
            raise KeysError(f"{where}: is {line[:80]!r}, expected a name, a space and a key")
        name, public = found.groups()
        _check_name(name, where)
        check_public(public, f"{where}: the key")
        if name in entries or public in entries.values():
            raise KeysError(f"{where}: {name!r} or its key is there twice: delete one line")
        entries[name] = public
    return entries


def _check_name(name: str, where: str = "a robot") -> None:
    if not _NAME.fullmatch(name):
        raise KeysError(
            f"{where}: the name {name[:128]!r} cannot be used with keys: expected letters, digits, "
            "'.', '_' and '-', not more than 128, as robot.name in the robot's config"
        )
