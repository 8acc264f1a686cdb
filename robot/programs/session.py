"""A robot's process from its connection to rest: what is opened, why it stops, how it ends.

Joins runner, recorder, status and, where there is one, the way to the trainer; explore, adapt,
act and record stand on it. It must not know which episodes to run, rewards, nor how messages
travel.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.bundles.judge import BundleJudge
from fieldtune.robot.config import RobotConfig, ZHold
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, Mode, ToldTask
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.episode_runner import EpisodeRunner
from fieldtune.robot.loop.states import State
from fieldtune.robot.monitor.status import Link, StatusReporter
from fieldtune.robot.policy.exploration import Draws, NextZ, ZSource
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.safety.estop import EStop

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

FLUSH_S = 60.0  # for uploads, when the trainer is there and nobody waits for this to end
STOPPED_FLUSH_S = 5.0


class Uplink(Link, Protocol):
    """The way to the trainer, which carries episodes there: the bridge's client."""

    def start(self) -> object: ...

    def emergency(self) -> str: ...

    def close(self, flush_timeout_s: float = 0.0) -> bool: ...


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
    """One robot, from connecting to rest. `recorder` and `runner` are for the program that runs
    episodes; `uploaded` says in the end whether the trainer has confirmed every episode in the
    journal, None without an uplink.

    Args:
        config: the robot's settings.
        driver: the hardware, disconnected.
        activity: what a person watching is told that the robot does.
        judge: which bundles may run, where its first trial has begun already.
        uplink: not started; started and closed here. None without a trainer.
        boot_session: what `uplink` told the trainer of this life of the process; empty draws one.
        task: what a person calls the task of its episodes.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        activity: str,
        *,
        judge: BundleJudge | None = None,
        uplink: Uplink | None = None,
        boot_session: str = "",
        task: ToldTask | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        self.config = config
        self.task = task
        self.recorder = Recorder(
            config.journal, quota_bytes=config.journal_quota_bytes, beside=config.bundles
        )
        self.runner = EpisodeRunner(config, driver, self.recorder, judge, boot_session)
        self.uploaded: bool | None = None
        self._uplink = uplink
        if uplink is not None:
            self.estop.ask(uplink.emergency)
        self._reporter = StatusReporter(config, activity, self.runner, self.recorder, uplink)
        self._stop_reason = ""
        self._trouble = ""
        self._started_s = 0.0

    @property
    def estop(self) -> EStop:
        return self.runner.estop

    @property
    def fault(self) -> str:
        """Why the robot is in fault, or what is or was wrong with its journal; empty when all was
        well."""
        return self.runner.fault_reason or self._journal_trouble()

    @property
    def cycles(self) -> dict[str, object]:
        """How the loop has kept time: `CycleReport.summary`."""
        return self.runner.report.summary()

    def request_stop(self, reason: str) -> None:
        """End the running episode safely, then all. Safe in a signal handler."""
        self._stop_reason = reason

    def give_up(self, trouble: str) -> None:
        """Stop for a trouble that is no fault of the robot, and that nobody will mend meanwhile."""
        self._trouble = trouble

    def why_stop(self) -> str:
        """Why to stop now; empty while there is no reason to. Also tells that the process moves."""
        self._reporter.beat()
        longest_s = self.config.limits.max_run_s
        if self._stop_reason:
            return self._stop_reason
        if trouble := self._journal_trouble():
            return trouble
        if longest_s is not None and time.monotonic() - self._started_s > longest_s:
            return f"robot.limits.max_run_s, {longest_s:g} s, is over"
        return ""

    def why_faulted(self) -> str:
        """Why the robot is in fault; between episodes, an emergency stop takes hold here."""
        self.runner.hold_if_stopped()
        states = self.runner.states
        return f"fault: {states.reason}" if states.current is State.FAULT else ""

    def may_go_on(self) -> bool:
        """Whether another episode may begin."""
        return not (self.why_faulted() or self.why_stop())

    @contextmanager
    def connected(self, check: Callable[[], object]) -> Iterator[None]:
        """Journal open and robot connected, inside; at rest, recorded and uploaded afterwards.

        Args:
            check: called before anything is opened, where the robot is in no fault; what it raises
                ends all.

        Raises:
            Latched, DriverFault, JournalError: nothing has moved.
        """
        self._started_s = time.monotonic()
        with ExitStack() as closing:  # the robot first, then the journal, then the uploads
            closing.callback(self._reporter.close)
            closing.callback(self._close_uplink)
            closing.callback(self.runner.fault_if_journal_broke)
            closing.callback(self.recorder.close)
            closing.callback(self.runner.close)
            closing.callback(self._reporter.end)
            self.runner.require_unlatched()
            check()
            self.recorder.start()
            self._reporter.start()
            if self._uplink is not None:
                self._uplink.start()
            self.runner.connect()
            self.runner.require_unlatched()  # somebody may have latched it meanwhile
            yield

    @contextmanager
    def ready(self, bundle: Path) -> Iterator[Policy]:
        """The same with one bundle, checked before anything is opened.

        Raises:
            BundleRefused, TrialStopped, Latched, DriverFault, LimitFault, JournalError: nothing has
                moved.
        """
        with self.connected(lambda: self.runner.check(bundle, self.why_stop)):
            yield self.runner.take(bundle, self.why_stop).policy

    def episode(
        self,
        z: Posterior,
        *,
        trial: int,
        hold: ZHold | int,
        noise: bool,
        follow: Callable[[Array, Array, Array], None] = lambda *_: None,
        stop: Callable[[], str] = lambda: "",
    ) -> Attempt | None:
        """Run one. None when the robot faulted before it began, or none may begin.

        Args:
            z: what the task embedding is drawn from, each for as long as `hold` says; without noise
                what it decides on, as for an episode that counts.
            trial: the number that its episodes share.
            noise: draw the policy's own, instead of acting with its mean.
            follow: told each transition: observation, applied action, next observation.
            stop: one more reason to stop, asked every control period.
        """
        return self.episode_by(
            lambda draws: ZSource(z, hold, draws.z, counts=not noise),
            trial=trial,
            noise=noise,
            follow=follow,
            stop=stop,
        )

    def episode_by(
        self,
        source: Callable[[Draws], NextZ],
        *,
        trial: int,
        noise: bool,
        follow: Callable[[Array, Array, Array], None],
        stop: Callable[[], str],
    ) -> Attempt | None:
        """As `episode`, with each step's z from what `source` gives for the episode's draws."""
        if not self.may_go_on():
            return None
        number = self.recorder.next_number()
        draws = Draws(self.config.seed, number)
        outcome = self.runner.run(
            Mode.ADAPT,
            number,
            trial,
            source(draws),
            draws,
            noise=noise,
            follow=follow,
            stop=lambda: self.why_stop() or stop(),
            task=self.task,
        )
        return None if outcome is None else Attempt(number, outcome.steps, outcome.reason)

    def _journal_trouble(self) -> str:
        """What is wrong with the journal, or was once in this session; empty when nothing was."""
        if error := self.recorder.error:
            self._trouble = f"the journal cannot be written: {error}"
        return self._trouble

    def _close_uplink(self) -> None:
        if self._uplink is None:
            return
        patient = self._uplink.connected() and not self._stop_reason
        flush_s = FLUSH_S if patient else STOPPED_FLUSH_S
        log.info("uploading what the trainer does not have yet, for at most %g s", flush_s)
        self.uploaded = self._uplink.close(flush_s)
        if not self.uploaded:
            log.warning("some episodes are not uploaded: they stay in %s", self.config.journal)
