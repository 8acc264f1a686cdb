"""Episodes as an MCAP file, for Foxglove, Rerun and whatever else reads MCAP.

Reads a journal and writes one file. It must not change the journal, and does not know who asks.
docs/journal.md describes the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from fieldtune.errors import UserError
from fieldtune.files import replace_atomically
from fieldtune.robot.episodes.episode import EndReason, Episode, EpisodeHeader, Step
from fieldtune.robot.journal.entry import Entry
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.mcap.schemas import (
    ERROR,
    INFO,
    LOG,
    STEP,
    VECTOR,
    WARNING,
    Names,
    Part,
    Schema,
    split,
)
from fieldtune.robot.timing.clock import SECOND_NS
from fieldtune.str_enum import StrEnum

if TYPE_CHECKING:
    from mcap.writer import Writer

NamesOf = Callable[[EpisodeHeader], Names]


class ExportError(UserError):
    """There is nothing to export, or not in this way. The message says what to do."""


class TimeBase(StrEnum):
    """Which clock a file's times are on. All episodes of one file share it."""

    WALL = "wall"
    ROBOT = "robot"
    TRAINER = "trainer"


_MEANING = {
    TimeBase.WALL: "the robot's wall clock since 1970, read once when each episode began, plus "
    "monotonic time since",
    TimeBase.ROBOT: "the robot's monotonic clock, which starts again when that machine starts",
    TimeBase.TRAINER: "the trainer's monotonic clock: the robot's plus each episode's "
    "clock_offset_ns, give or take its clock_uncertainty_ns",
}


@dataclass
class Exported:
    """What is in the file. `left_out` says why each episode that was asked for is not; `damaged`
    that one of them could not be read."""

    clock: TimeBase
    episodes: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    damaged: bool = False


def export_mcap(
    journal: Journal,
    out: Path,
    names: NamesOf,
    *,
    first: int = 1,
    last: int | None = None,
    clock: TimeBase | None = None,
) -> Exported:
    """Write the finished episodes from `first` to `last`, both included, to `out`.

    Args:
        journal: may be recorded into meanwhile.
        out: replaced when the new file is complete, and left alone otherwise.
        names: the fields of an episode's vectors.
        clock: None takes the wall clock where every episode has it, else the robot's.

    Raises:
        ExportError: no such episodes, no such clock in one of them, or no `mcap` package.
        OSError: `out` cannot be written.
    """
    writer_class = _writer_class()
    with journal.snapshot():  # nothing is deleted for room between the list and the last episode
        return _export(journal, out, names, first, last, clock, writer_class)


def _export(
    journal: Journal,
    out: Path,
    names: NamesOf,
    first: int,
    last: int | None,
    clock: TimeBase | None,
    writer_class: Callable[[BinaryIO], Writer],
) -> Exported:
    entries = journal.entries()
    chosen = [
        entry
        for entry in entries
        if entry.number >= first and (last is None or entry.number <= last)
    ]
    finished = [entry for entry in chosen if entry.footer is not None]
    if not finished:
        held = f"it has {entries[0].number} to {entries[-1].number}" if entries else "it is empty"
        raise ExportError(
            f"{journal.path}: no finished episode from {first} to {last or 'the newest'}: {held}"
        )
    exported = Exported(_choose(clock, finished))
    exported.left_out += [
        f"episode {entry.number} is still open: export it when it has ended"
        for entry in chosen
        if entry.footer is None
    ]
    with replace_atomically(out) as file:
        target = _File(writer_class(file), exported.clock)
        for entry in finished:
            try:
                episode = journal.episode(entry.number)
            except JournalError as error:
                exported.left_out.append(str(error))
                exported.damaged = True
                continue
            target.add(entry, episode, names(episode.header), journal.rewards(entry.number))
            exported.episodes.append(entry.number)
        if not exported.episodes:
            raise ExportError(f"none could be read: {'; '.join(exported.left_out)}")
        target.finish()
    return exported


def _writer_class() -> Callable[[BinaryIO], Writer]:
    try:
        from mcap.writer import Writer
    except ImportError as error:
        raise ExportError(
            f'MCAP files need the package mcap ({error}): pip install "fieldtune[mcap]"'
        ) from error
    return Writer


def _choose(clock: TimeBase | None, entries: Sequence[Entry]) -> TimeBase:
    if clock is None:
        anchored = all(_shift_ns(entry, TimeBase.WALL) is not None for entry in entries)
        return TimeBase.WALL if anchored else TimeBase.ROBOT
    without = [entry.number for entry in entries if _shift_ns(entry, clock) is None]
    if without:
        raise ExportError(
            f"episode {without[0]} does not know the {clock} clock, and {len(without) - 1} others "
            "do not either: choose --clock robot, or episodes that do"
        )
    return clock


def _shift_ns(entry: Entry, clock: TimeBase) -> int | None:
    """What to add to the robot's monotonic time; None where the episode cannot tell."""
    if clock is TimeBase.ROBOT:
        return 0
    if clock is TimeBase.WALL:
        return None if entry.wall_ns is None else entry.wall_ns - entry.header.started_ns
    return None if entry.footer is None else entry.footer.clock_offset_ns


class _File:
    """An MCAP file being written. Channels are registered when they are first used."""

    def __init__(self, writer: Writer, clock: TimeBase) -> None:
        self._writer = writer
        self._clock = clock
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, str], int] = {}
        writer.start(profile="", library="fieldtune")
        writer.add_metadata("fieldtune", {"clock": clock, "clock_meaning": _MEANING[clock]})

    def add(
        self, entry: Entry, episode: Episode, names: Names, rewards: Mapping[int, float]
    ) -> None:
        shift = _shift_ns(entry, self._clock)
        assert shift is not None, "the clock was chosen so that every episode knows it"
        header, number = episode.header, episode.header.number
        self._writer.add_metadata(f"fieldtune.episode.{number}", _describe(entry, episode, names))
        self._log(
            shift + header.started_ns,
            INFO,
            f"episode {number} began: {header.mode.said}, trial {header.trial}, "
            f"bundle {header.bundle_id[:12]}",
        )
        for step in episode.steps:
            self._add_step(number, step, names, shift)
            if step.index in rewards:
                time, parts = step.sense_ns + shift, [Part("/reward", 0, 1, "")]
                self._add_parts(time, time, step.index, parts, [rewards[step.index]])
        self._add_end(episode, shift)

    def finish(self) -> None:
        self._writer.finish()

    def _add_step(self, number: int, step: Step, names: Names, shift: int) -> None:
        time = step.sense_ns + shift
        acted = time + step.observation_age_ns + step.infer_ns + step.apply_ns
        requested = split("/action/requested", names.action, len(step.requested))
        applied = split("/action/applied", names.action, len(step.applied))
        observation = split("/observation", names.observation, len(step.observation))
        self._add_parts(time, time, step.index, observation, step.observation)
        self._add_parts(time, acted, step.index, requested, step.requested)
        self._add_parts(time, acted, step.index, applied, step.applied)
        if step.z:  # a recorded one follows none
            self._add_parts(time, time, step.index, [Part("/z", 0, len(step.z), "")], step.z)
        if not isinstance(step.signals, msgspec.UnsetType):
            signals = [Part("/signals", 0, len(step.signals), "")]
            self._add_parts(time, time, step.index, signals, step.signals)
        content = {
            "episode": number,
            "index": step.index,
            "observation_age_s": step.observation_age_ns / SECOND_NS,
            "infer_s": step.infer_ns / SECOND_NS,
            "apply_s": step.apply_ns / SECOND_NS,
            "overrun": step.overrun,
            "reason": step.reason,
        }
        self._add("/step", STEP, time, acted, step.index, content)
        where = f"episode {number}, step {step.index}"
        if step.reason:
            self._log(time, WARNING, f"{where}: applied is not what was requested: {step.reason}")
        if step.overrun:
            self._log(time, WARNING, f"{where}: ran into the next control period")

    def _add_end(self, episode: Episode, shift: int) -> None:
        footer = episode.footer
        last = episode.steps[-1].sense_ns if episode.steps else episode.header.started_ns
        bad = footer.end_reason in (EndReason.FAULT, EndReason.LATE, EndReason.INTERRUPTED)
        text = f"episode {episode.header.number} ended: {footer.end_reason}, {footer.steps} steps"
        self._log(
            last + shift, ERROR if bad else INFO, f"{text}: {footer.fault}".removesuffix(": ")
        )

    def _add_parts(
        self,
        time: int,
        published: int,
        index: int,
        parts: Iterable[Part],
        values: Sequence[float],
    ) -> None:
        for part in parts:
            content = {"value": values[part.start : part.stop]}
            self._add(part.topic, VECTOR, time, published, index, content, part.unit)

    def _log(self, time: int, level: int, message: str) -> None:
        stamp = {"sec": time // SECOND_NS, "nsec": time % SECOND_NS}
        content = {"timestamp": stamp, "level": level, "message": message}
        self._add("/events", LOG, time, time, 0, content | {"name": "robot", "file": "", "line": 0})

    def _add(
        self,
        topic: str,
        schema: Schema,
        time: int,
        published: int,
        sequence: int,
        content: dict[str, Any],
        unit: str = "",
    ) -> None:
        if time < 0:
            raise ExportError(
                f"{topic} has a time before the {self._clock} clock's beginning, which MCAP "
                "cannot hold: choose --clock robot"
            )
        self._writer.add_message(
            self._channel(topic, schema, unit),
            log_time=time,
            publish_time=published,
            sequence=sequence,
            data=msgspec.json.encode(content),
        )

    def _channel(self, topic: str, schema: Schema, unit: str) -> int:
        if schema.name not in self._schemas:
            self._schemas[schema.name] = self._writer.register_schema(
                schema.name, "jsonschema", schema.data
            )
        if (topic, unit) not in self._channels:
            self._channels[topic, unit] = self._writer.register_channel(
                topic, "json", self._schemas[schema.name], {"unit": unit} if unit else {}
            )
        return self._channels[topic, unit]


def _describe(entry: Entry, episode: Episode, names: Names) -> dict[str, str]:
    """All of an episode but its steps, as text: MCAP's metadata knows nothing else."""
    whole = {
        **msgspec.to_builtins(episode.header),
        **msgspec.to_builtins(episode.footer),
        "wall_ns": entry.wall_ns,
        "sha256": entry.sha256,
        "upload": entry.state,
        "names_from": names.source,
    }
    return {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in whole.items()
    }
