"""The trainer's view of its robots: who was heard of, what it does, and what has come from it.

Joins what the hub knows, which the finetuning process leaves in `RUN/fleet.json`, with the inbox
and the quarantine. Reads only, from any process. It must not know the wire, nor learning, and
imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, EpisodeHeader
from fieldtune.robot.monitor.heartbeat import Beat, Heart, HeartbeatError, read
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.inbox import SUFFIX, damaged
from fieldtune.train.bridge.quarantine import Quarantine
from fieldtune.train.bridge.sessions import PRESENT_S, RobotView

FILE = "fleet.json"


class Fleet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All robot sessions of one life of the hub, oldest first."""

    address: str
    sessions: list[RobotView]


def telling(run: Path, hub: Hub) -> Heart[Fleet]:
    """Keeps `RUN/fleet.json` up to date, from `start` to `close`."""

    def tell() -> Fleet:
        sessions = [
            msgspec.structs.replace(view, silent_s=round(view.silent_s, 3)) for view in hub.robots()
        ]
        return Fleet(hub.address, sessions)

    return Heart(run / FILE, tell)


@dataclass
class RobotLine:
    """One robot. What only a running trainer knows is None where none told; `silent_s` counts up to
    now. `clock_ns` is trainer minus robot with its uncertainty, from its latest episode that has
    it; `fault` the latest that ended an episode, and how many episodes ago. Of the `episodes` that
    came, `quarantined` are not learned from; `quarantine_reason` is the latest's. `damaged` are the
    numbers of those that the trainer's disk has lost since, and that have not come again."""

    robot: str
    state: str | None = None
    silent_s: float | None = None
    bundle_id: str = ""
    pending: int | None = None
    episodes: int = 0
    steps: int = 0
    clock_ns: tuple[int, int] | None = None
    fault: str = ""
    faulted_ago: int = 0
    quarantined: int = 0
    quarantine_reason: str = ""
    damaged: list[int] = field(default_factory=list)

    def take(self, footer: EpisodeFooter) -> None:
        """Count one more episode, the latest to arrive."""
        self.episodes += 1
        self.steps += footer.steps
        self.faulted_ago += 1
        if footer.clock_offset_ns is not None and footer.clock_uncertainty_ns is not None:
            self.clock_ns = footer.clock_offset_ns, footer.clock_uncertainty_ns
        if footer.end_reason in (EndReason.FAULT, EndReason.LATE):
            self.fault, self.faulted_ago = footer.fault, 0

    @property
    def present(self) -> bool:
        return self.silent_s is not None and self.silent_s < PRESENT_S


@dataclass
class FleetView:
    """`trainer` says whether one is running and where; `robots` are by name. `damaged` counts
    those that the trainer's disk has lost, also of robots that nothing tells any more."""

    trainer: str
    running: bool
    robots: list[RobotLine] = field(default_factory=list)
    damaged: int = 0


class Watcher:
    """Looks at one run again and again; episodes that were counted are not read again."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._counted: set[str] = set()
        self._ingested: dict[str, RobotLine] = {}
        self._quarantine = Quarantine(run)
        self._aside: set[str] = set()

    def look(self) -> FleetView:
        """Never raises for what the run may hold."""
        self._count()
        self._count_quarantined()
        lines = {name: replace(line, damaged=[]) for name, line in self._ingested.items()}
        lost = damaged(self.run / "inbox").values()
        for header in lost:
            if header is not None:
                line = lines.setdefault(header.robot, RobotLine(header.robot))
                line.damaged = sorted([*line.damaged, header.number])
        try:
            beat = read(self.run / FILE, Fleet)
        except HeartbeatError as error:
            return FleetView(str(error), False, _ordered(lines), len(lost))
        if beat is None:
            word = "serves" if lines else "has served"  # some do not say when, as the demo's
            nobody = f"no trainer {word} robots in this run"
            return FleetView(nobody, False, _ordered(lines), len(lost))
        # Of a robot's several lives, the one heard of last is written over the others.
        for heard in sorted(beat.told.sessions, key=lambda one: -one.silent_s):
            line = lines.setdefault(heard.robot, RobotLine(heard.robot))
            line.state, line.bundle_id, line.pending = heard.state, heard.bundle_id, heard.pending
            line.silent_s = heard.silent_s + beat.age_s
        return FleetView(_trainer(beat), beat.alive, _ordered(lines), len(lost))

    def _count(self) -> None:
        arrived = [
            path
            for path in (self.run / "inbox").glob(f"*{SUFFIX}")
            if path.name not in self._counted
        ]
        for path in sorted(arrived, key=_arrival):
            self._counted.add(path.name)
            try:
                episode = _decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                continue  # finetuning sets it aside, and says so
            name = episode.header.robot
            self._ingested.setdefault(name, RobotLine(name)).take(episode.footer)

    def _count_quarantined(self) -> None:
        for sha256 in self._quarantine.addresses():
            known = None if sha256 in self._aside else self._quarantine.read(sha256)
            if known is None:  # counted before, or no work of the trainer's
                continue
            self._aside.add(sha256)
            line = self._ingested.setdefault(known.robot, RobotLine(known.robot))
            line.quarantined += 1
            line.quarantine_reason = f"episode {known.number}: {known.reason}"


class _Ends(msgspec.Struct):
    """An episode without its steps, which are skipped and not decoded."""

    header: EpisodeHeader
    footer: EpisodeFooter


_decoder = msgspec.msgpack.Decoder(_Ends)


def _arrival(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # set aside since
        return 0


def _trainer(beat: Beat[Fleet]) -> str:
    if beat.alive:
        return f"serving {beat.told.address}, process {beat.pid}"
    if beat.over:
        return "has ended"
    return f"process {beat.pid} is gone or hangs"


def _ordered(lines: dict[str, RobotLine]) -> list[RobotLine]:
    return [lines[name] for name in sorted(lines)]
