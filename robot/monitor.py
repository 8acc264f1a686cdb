"""What can be known of a robot from its state folder: alive or not, and what it does.

Reads the status, the latch and the journal; asks nobody, and needs no running process. It must not
know how it is shown.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from robot import heartbeat
from robot.config import RobotConfig
from robot.heartbeat import Beat, HeartbeatError
from robot.journal import EntryState, Journal, JournalError
from robot.journal_file import writer
from robot.journal_glance import Glance
from robot.known_task import KnownTasks
from robot.safety.latch import latched
from robot.status import Status

STANDING_S = 2.0  # a main thread that has done nothing for longer is worth a word


class Life(StrEnum):
    """Of the process that drives the robot.

    silent: it is there, and has not been heard of. died: it went without a last word.
    """

    NEVER = "never ran"
    RUNNING = "running"
    SILENT = "silent"
    ENDED = "ended"
    DIED = "died"


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
    about what is wrong, and is empty when nothing is. Sizes are in bytes."""

    robot: str
    family: str
    life: Life
    pid: int | None
    age_s: float | None
    status: Status | None
    fault: str
    cure: str
    episode: EpisodeView | None
    uploads: dict[str, int]
    journal_bytes: int
    quota_bytes: int | None
    disk_free_bytes: int
    tasks: list[str] = field(default_factory=list)
    unreadable: str = ""


def look(config: RobotConfig, config_file: Path) -> Snapshot:
    """Never raises for what a state folder may hold: what cannot be read is said."""
    unreadable: list[str] = []
    beat = None
    try:
        beat = heartbeat.read(config.status, Status)
    except HeartbeatError as error:
        unreadable.append(str(error))
    glance = Glance({}, None, [])
    try:
        if config.journal.exists():
            with Journal.read(config.journal) as journal:
                glance = journal.glance()
    except (JournalError, sqlite3.Error) as error:
        said = str(error)
        unreadable.append(said if str(config.journal) in said else f"{config.journal}: {said}")
    life, pid = _life(config, beat)
    fault = latched(config.latch) or ""
    status = None if beat is None else beat.told
    return Snapshot(
        robot=config.name,
        family=config.family,
        life=life,
        pid=pid,
        age_s=None if beat is None else round(beat.age_s, 3),
        status=status,
        fault=fault,
        cure=_cure(life, status, fault, config_file),
        episode=_episode(glance),
        uploads={str(state): glance.episodes.get(state, 0) for state in EntryState},
        journal_bytes=_size(config.journal),
        quota_bytes=config.journal_quota_bytes,
        disk_free_bytes=_free(config.state_dir),
        tasks=KnownTasks(config.tasks).names(),
        unreadable="; ".join(unreadable),
    )


def _life(config: RobotConfig, beat: Beat[Status] | None) -> tuple[Life, int | None]:
    """The lock on the journal is the kernel's word for who lives; the beat says how well."""
    try:
        holder = writer(config.journal)
    except OSError:  # another user's
        holder = None if beat is None or not beat.alive else str(beat.pid)
    if holder is None:
        if beat is None:
            return Life.NEVER, None
        return (Life.ENDED if beat.over else Life.DIED), beat.pid
    pid = int(holder) if holder.isdecimal() else None
    heard = beat is not None and not beat.over and beat.age_s < heartbeat.SILENT_S
    return (Life.RUNNING if heard else Life.SILENT), pid


def _cure(life: Life, status: Status | None, fault: str, config_file: Path) -> str:
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
    if life is Life.RUNNING and status is not None:
        if status.journal_trouble:
            return status.journal_trouble
        if status.moved_s > STANDING_S:
            return "the main thread waits for the hardware: homing takes long, or a driver blocks"
        if status.connected is False:
            return "episodes are kept here until the trainer is back; see the robot's log"
    return ""


def _episode(glance: Glance) -> EpisodeView | None:
    entry = glance.newest
    if entry is None:
        return None
    limits = Counter(
        reason for step in glance.recent if step.reason for reason in step.reason.split("; ")
    )
    return EpisodeView(
        number=entry.number,
        mode=str(entry.header.mode),
        steps=entry.steps,
        ended="" if entry.footer is None else str(entry.footer.end_reason),
        looked_at=len(glance.recent),
        limited=sum(bool(step.reason) for step in glance.recent),
        limits=dict(limits.most_common()),
    )


def _size(journal: Path) -> int:
    parts = (journal, journal.with_name(journal.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
