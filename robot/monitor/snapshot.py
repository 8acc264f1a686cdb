"""What can be known of a robot from its state folder: alive or not, and what it does.

Reads the status, the latch and the journal; asks nobody, and needs no running process, nor a folder
that may be written. What cannot be known is None, never nothing. It must not know how it is shown.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.journal.file import writer
from fieldtune.robot.journal.journal import EntryState, Journal, JournalError
from fieldtune.robot.journal.overview import Overview, overview
from fieldtune.robot.monitor import heartbeat
from fieldtune.robot.monitor.heartbeat import Beat, HeartbeatError
from fieldtune.robot.monitor.status import Status
from fieldtune.robot.policy.saved_tasks import SavedTasks
from fieldtune.robot.safety.latch import latched
from fieldtune.str_enum import StrEnum

STANDING_S = 2.0  # a main thread that has done nothing for longer is worth a word


_T = TypeVar("_T")


class Life(StrEnum):
    """Of the process that drives the robot.

    silent: it is there, and has not been heard of. died: it went without a last word. unknown:
    what would tell cannot be read, or was written by another machine.
    """

    NEVER = "never ran"
    RUNNING = "running"
    SILENT = "silent"
    ENDED = "ended"
    DIED = "died"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class EpisodeView:
    """The newest episode. `limits` counts the reasons in its latest `looked_at` steps, `limited`
    the steps among them that have one."""

    number: int
    mode: str
    steps: int
    ended: str
    looked_at: int
    limited: int
    limits: dict[str, int]


@dataclass(frozen=True)
class Snapshot:
    """One moment. `age_s` is since the last beat, `fault` what is latched; `cure` says what to do
    about what is wrong. Both are empty when nothing is. Sizes are in bytes.

    `fault`, `uploads`, `tasks` and the sizes are None where they cannot be read; `unreadable` says
    why."""

    robot: str
    family: str
    life: Life
    pid: int | None
    age_s: float | None
    status: Status | None
    fault: str | None
    cure: str
    episode: EpisodeView | None
    uploads: dict[str, int] | None
    journal_bytes: int | None
    quota_bytes: int | None
    disk_free_bytes: int | None
    tasks: list[str] | None = field(default_factory=list)
    unreadable: str = ""


def look(config: RobotConfig, config_file: Path) -> Snapshot:
    """Never raises for what a state folder may hold: what cannot be read is said."""
    unreadable: list[str] = []

    def known(read: Callable[[], _T], path: Path) -> _T | None:
        try:
            return read()
        except (HeartbeatError, JournalError, OSError, sqlite3.Error) as error:
            said = (error.strerror if isinstance(error, OSError) else None) or str(error)
            unreadable.append(said if str(path) in said else f"{path}: {said}")
            return None

    beat = known(lambda: heartbeat.read(config.status, Status), config.status)
    life, pid = _life(config, beat, may_never_have_run=not unreadable)
    status = None if beat is None else beat.told
    recorded = known(lambda: _overview(config.journal), config.journal)
    fault = known(lambda: latched(config.latch) or "", config.latch)
    return Snapshot(
        robot=config.name,
        family=config.family,
        life=life,
        pid=pid,
        age_s=None if beat is None else round(beat.age_s, 3),
        status=status,
        fault=fault,
        cure=_cure(life, status, fault, config_file),
        episode=None if recorded is None else _episode(recorded),
        uploads=None if recorded is None else _uploads(recorded),
        journal_bytes=known(lambda: _size(config.journal), config.journal),
        quota_bytes=config.journal_quota_bytes,
        disk_free_bytes=known(lambda: _free(config.state_dir), config.state_dir),
        tasks=known(lambda: _tasks(config.tasks), config.tasks),
        unreadable="; ".join(dict.fromkeys(unreadable)),
    )


def _life(
    config: RobotConfig, beat: Beat[Status] | None, *, may_never_have_run: bool
) -> tuple[Life, int | None]:
    """The lock on the journal is the kernel's word for who lives; the beat says how well."""
    pid = None if beat is None else beat.pid
    try:
        holder = writer(config.journal)
        ran = config.journal.exists()
    except OSError:  # another user's
        if beat is None:
            return Life.UNKNOWN, None
        return (Life.ENDED if beat.over else Life.RUNNING if beat.alive else Life.UNKNOWN), pid
    if holder is not None:
        heard = beat is not None and not beat.over and beat.age_s < heartbeat.SILENT_S
        pid = int(holder) if holder.isdecimal() else None
        return (Life.RUNNING if heard else Life.SILENT), pid
    if beat is None:
        return (Life.NEVER if may_never_have_run and not ran else Life.UNKNOWN), None
    if beat.over:
        return Life.ENDED, pid
    elsewhere = not beat.of_this_start and _is_read_only(config.state_dir)
    return (Life.UNKNOWN if elsewhere else Life.DIED), pid


def _cure(life: Life, status: Status | None, fault: str | None, config_file: Path) -> str:
    if fault:
        return (
            "look at the robot and see to what the fault says; then `fieldtune-robot rearm "
            f"--config {config_file}`, and start it again"
        )
    if life is Life.SILENT:
        return "its disk or this machine may hang; `fieldtune-robot stop` if the robot moves"
    if life is Life.DIED:
        return (
            "it was killed, or the machine lost power: look at the robot, then start it again; the "
            "journal closes the open episode by itself"
        )
    if life is Life.UNKNOWN or fault is None:
        return "look at the robot, or ask again on its own machine, as the user who runs it"
    if life is Life.RUNNING and status is not None:
        if status.journal_trouble:
            return status.journal_trouble
        if status.moved_s > STANDING_S:
            return "the main thread waits for the hardware: homing takes long, or a driver blocks"
        if status.connected is False:
            return "episodes are kept here until the trainer is back; see the robot's log"
    return ""


def _overview(journal: Path) -> Overview:
    if not journal.exists():
        return Overview({}, None, [])
    with Journal.read(journal) as opened:
        return overview(opened)


def _uploads(recorded: Overview) -> dict[str, int]:
    return {str(state): recorded.episodes.get(state, 0) for state in EntryState}


def _episode(recorded: Overview) -> EpisodeView | None:
    entry = recorded.newest
    if entry is None:
        return None
    limits = Counter(
        reason for step in recorded.recent if step.reason for reason in step.reason.split("; ")
    )
    return EpisodeView(
        number=entry.number,
        mode=str(entry.header.mode),
        steps=entry.steps,
        ended="" if entry.footer is None else str(entry.footer.end_reason),
        looked_at=len(recorded.recent),
        limited=sum(bool(step.reason) for step in recorded.recent),
        limits=dict(limits.most_common()),
    )


def _tasks(folder: Path) -> list[str]:
    try:
        with os.scandir(folder):  # a glob does not tell nothing from what it may not read
            return SavedTasks(folder).names()
    except FileNotFoundError:
        return []


def _is_read_only(folder: Path) -> bool:
    """Whether it lies on a read-only mount: nothing here can have written it."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _size(journal: Path) -> int:
    parts = (journal, journal.with_name(journal.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
