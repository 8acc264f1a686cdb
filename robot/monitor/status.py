"""What a robot's process tells about itself while it runs: to people watching, and to systemd.

Reads the numbers that the loop leaves behind; the loop never waits for it, and does nothing for it
but to note the time. It must not know how the status is shown.
"""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.episode_runner import EpisodeRunner
from fieldtune.robot.monitor.heartbeat import Heart
from fieldtune.robot.monitor.systemd import Service

ENDING_S = 90.0  # longer than fieldtune.robot.programs.session.FLUSH_S


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One moment. Times are seconds, or as named; durations in microseconds.

    `reason` is why the robot is in its state. `moved_s` is how long ago the main thread last did
    something. `jitter_us` and `cycle_us` are by quantile. The last three are None without a bridge,
    the very last also until the clocks were compared.
    """

    robot: str
    family: str
    activity: str
    state: str
    reason: str
    bundle: str
    moved_s: float
    period_s: float
    cycles: int
    rate_hz: float
    overruns: int
    skipped: int
    jitter_us: dict[str, float]
    cycle_us: dict[str, float]
    waiting_steps: int
    journal_trouble: str
    trainer: str | None = None
    connected: bool | None = None
    clock_ns: tuple[int, int] | None = None


class Link(Protocol):
    """What is told of the bridge."""

    address: str

    def connected(self) -> bool: ...

    def clock(self) -> tuple[int, int] | None: ...


class StatusReporter:
    """Reports on this process: in `config.status` for people, and to systemd where it asked.

    On two threads, so that a disk that hangs does not look like a robot that hangs. `activity` is
    what a person is told that the robot does.
    """

    def __init__(
        self,
        config: RobotConfig,
        activity: str,
        runner: EpisodeRunner,
        recorder: Recorder,
        link: Link | None = None,
    ) -> None:
        self._config, self._activity = config, activity
        self._runner, self._recorder, self._link = runner, recorder, link
        self._beats = 0
        self._moved = time.monotonic()
        self._ended: float | None = None
        self._heart = Heart(config.status, self._tell)
        self._service = Service(self._progress, self._line)

    def start(self) -> None:
        """Begin. Not before the journal is open: another process may drive this robot."""
        self._heart.start()
        self._service.start()

    def beat(self) -> None:
        """The main thread is doing what it should: once a control period, and while it waits."""
        self._beats += 1
        self._moved = time.monotonic()

    def end(self) -> None:
        """The robot is to rest now, and this process to end when all is uploaded."""
        self._ended = time.monotonic()
        self._service.stopping()

    def close(self) -> None:
        """Say the last word. Safe to call twice."""
        self._service.close()
        self._heart.close()

    def _progress(self) -> int:
        """Grows while the main thread does; in the end for as long as uploads may take."""
        if self._ended is not None and time.monotonic() - self._ended < ENDING_S:
            self._beats += 1
        return self._beats

    def _line(self) -> str:
        states, report = self._runner.states, self._runner.report
        return f"{self._activity}: {states.current}, {report.rate_hz:.1f} Hz, {states.reason}"

    def _tell(self) -> Status:
        runner, recorder, link = self._runner, self._recorder, self._link
        states, report, parts = runner.states, runner.report, runner.parts
        return Status(
            robot=self._config.name,
            family=self._config.family,
            activity=self._activity,
            state=str(states.current),
            reason=states.reason,
            bundle="" if parts is None else parts.policy.bundle_id,
            moved_s=round(time.monotonic() - self._moved, 3),
            period_s=runner.driver.period_s,
            cycles=report.cycles,
            rate_hz=round(report.rate_hz, 3),
            overruns=report.overruns,
            skipped=report.skipped,
            jitter_us=report.jitter.summary(),
            cycle_us=report.stages["cycle"].summary(),
            waiting_steps=recorder.queued_steps,
            journal_trouble=recorder.error or recorder.full or "",
            trainer=None if link is None else link.address,
            connected=None if link is None else link.connected(),
            clock_ns=None if link is None else link.clock(),
        )
