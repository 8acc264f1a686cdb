"""A robot that does what somebody asked for, one episode after another, and then rests.

Joins runner and recorder for `adapt` and `act`. It must not know rewards, nor where z comes from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import RobotConfig, ZHold
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, Mode
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.episode_runner import EpisodeRunner
from fieldtune.robot.loop.states import State
from fieldtune.robot.monitor.status import StatusReporter
from fieldtune.robot.policy.exploration import Draws, ZSource
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.safety.estop import EStop

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Attempt:
    """One episode: its number, its steps and why it ended."""

    number: int
    steps: int
    reason: EndReason

    @property
    def broken(self) -> bool:
        """Whether no other episode may follow."""
        return self.reason in (EndReason.FAULT, EndReason.LATE, EndReason.STOPPED)


class RobotSession:
    """One robot with one bundle. `activity` is what a person watching is told it does."""

    def __init__(self, config: RobotConfig, driver: Driver, activity: str) -> None:
        self.config = config
        self.recorder = Recorder(
            config.journal, quota_bytes=config.journal_quota_bytes, beside=config.bundles
        )
        self._runner = EpisodeRunner(config, driver, self.recorder)
        self._reporter = StatusReporter(config, activity, self._runner, self.recorder)
        self._stop_reason = ""
        self._started_s = 0.0

    @property
    def estop(self) -> EStop:
        return self._runner.estop

    @property
    def fault(self) -> str:
        """Why the robot is in fault, or its journal cannot be written; empty when all is well."""
        return self._runner.states.fault_reason or self._journal_trouble()

    @property
    def cycles(self) -> dict[str, object]:
        """How the loop has kept time: `CycleReport.summary`."""
        return self._runner.report.summary()

    def request_stop(self, reason: str) -> None:
        """End the running episode safely, then all. Safe in a signal handler."""
        self._stop_reason = reason

    def why_stop(self) -> str:
        """Why to stop now; empty while there is no reason to."""
        self._reporter.beat()
        longest_s = self.config.limits.max_run_s
        if self._stop_reason:
            return self._stop_reason
        if trouble := self._journal_trouble():
            return trouble
        if longest_s is not None and time.monotonic() - self._started_s > longest_s:
            return f"robot.limits.max_run_s, {longest_s:g} s, is over"
        return ""

    def _journal_trouble(self) -> str:
        error = self.recorder.error
        return f"the journal cannot be written: {error}" if error else ""

    @contextmanager
    def ready(self, bundle: Path) -> Iterator[Policy]:
        """Everything checked and connected, inside; at rest and recorded afterwards.

        Raises:
            BundleRefused, TrialStopped, Latched, DriverFault, LimitFault, JournalError: nothing has
                moved.
        """
        self._started_s = time.monotonic()
        runner = self._runner
        with ExitStack() as closing:
            closing.callback(self._reporter.close)
            closing.callback(self.recorder.close)
            closing.callback(runner.close)
            closing.callback(self._reporter.end)
            runner.require_unlatched()
            runner.check(bundle, self.why_stop)
            self.recorder.start()
            self._reporter.start()
            runner.connect()
            runner.require_unlatched()  # somebody may have latched it meanwhile
            yield runner.take(bundle, self.why_stop).policy

    def may_go_on(self) -> bool:
        """Whether another episode may begin; between episodes, an emergency stop takes hold."""
        self._runner.hold_if_stopped()
        return self._runner.states.current is not State.FAULT and not self.why_stop()

    def episode(
        self,
        z: Posterior,
        *,
        trial: int,
        hold: ZHold,
        noise: bool,
        follow: Callable[[Array, Array, Array], None] = lambda *_: None,
        stop: Callable[[], str] = lambda: "",
    ) -> Attempt | None:
        """Run one. None when the robot faulted before it began, or none may begin."""
        if not self.may_go_on():
            return None
        number = self.recorder.next_number()
        draws = Draws(self.config.seed, number)
        outcome = self._runner.run(
            Mode.ADAPT,
            number,
            trial,
            ZSource(z, hold, draws.z),
            draws,
            noise=noise,
            follow=follow,
            stop=lambda: self.why_stop() or stop(),
        )
        return None if outcome is None else Attempt(number, outcome.steps, outcome.reason)
