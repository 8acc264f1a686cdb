"""Which processes of this machine drive a robot, found by the lock that each of them holds.

A state folder says who drives the robot that it belongs to. Here is the other question: where is
the robot of this name driven, whichever folder its process was given? Reads /proc, so it sees what
the caller may see: her own processes, and everybody's where she is root. Asks no process, and keeps
no list that could be out of date. It must not know what to do with the answer.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.journal.file import LOCK

_LONGEST = 65_536


@dataclass(frozen=True)
class Driving:
    """A process that drives a robot. `config` is the given one, with the folder that it uses;
    `robot` is what that robot is called, empty where its process has not said so."""

    pid: int
    robot: str
    config: RobotConfig

    def __str__(self) -> str:
        name = repr(self.robot) if self.robot else "a robot"
        return f"process {self.pid} drives {name} in {self.config.state_dir}"


class _Told(msgspec.Struct):
    robot: str


class _Beat(msgspec.Struct):
    told: _Told


def driving(config: RobotConfig) -> list[Driving]:
    """Every process that drives a robot in another state folder than `config`'s."""
    ours = os.path.realpath(config.state_dir)
    found: dict[Path, Driving] = {}
    for pid, lock in _locks(config.journal.name + LOCK):
        if str(lock.parent) != ours:
            there = config.model_copy(update={"state_dir": lock.parent})
            found[lock] = Driving(pid, _name(there), there)
    return list(found.values())


def elsewhere(config: RobotConfig) -> list[Driving]:
    """Those among them that drive a robot of this name."""
    return [one for one in driving(config) if one.robot == config.name]


def hint(config: RobotConfig) -> str:
    """Where a robot of this name is driven instead, to end a message; empty where none is."""
    return "".join(
        f"; {one}: give {shlex.quote(f'robot.state_dir={one.config.state_dir}')}"
        for one in elsewhere(config)
    )


def _locks(name: str) -> Iterator[tuple[int, Path]]:
    """Files of this name that a process has open to write; who only looks does not have it so."""
    for process in _inside(Path("/proc")):
        for link in _inside(process / "fd") if process.name.isdecimal() else ():
            try:
                path = link.readlink()
                if path.name != name or not _writes(process / "fdinfo" / link.name):
                    continue
                if path.samefile(link):  # not another one, as in a container
                    yield int(process.name), path
            except OSError:  # it has ended, or closed the file, or the file is deleted
                continue


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # another user's, or just gone
        return []


def _writes(place: Path) -> bool:
    for line in place.read_text(encoding="ascii").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE == os.O_RDWR
    return False


def _name(config: RobotConfig) -> str:
    try:  # not waiting for a pipe, whoever has put it there
        descriptor = os.open(config.status, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            return msgspec.json.decode(file.read(_LONGEST) or b"", type=_Beat).told.robot
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
