"""A robot that is connected: brought to a start, driven for an episode, at rest; faults latched.

Joins driver, recorder, states and the emergency stop. It must not know bundles, which episodes to
run, nor the network.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from fieldtune.errors import UserError
from fieldtune.exit_status import FAULT
from fieldtune.export.sessions import require_available
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.parts import Actor, LoopParts, Outcome
from fieldtune.robot.loop.short_episodes import ShortEpisodes, is_short
from fieldtune.robot.loop.states import State, States
from fieldtune.robot.safety.build import describe
from fieldtune.robot.safety.estop import EmergencyStop, EStop, WaitAbandoned
from fieldtune.robot.safety.fault import explain
from fieldtune.robot.safety.latch import confirm, latch, latch_twice, latched, reserve
from fieldtune.robot.safety.limits import Limits
from fieldtune.robot.safety.rest import close, hold, kept_signals
from fieldtune.robot.safety.watchdog import Watchdog
from fieldtune.robot.timing.clock import Clock
from fieldtune.robot.timing.cycle_report import CycleReport
from fieldtune.robot.timing.realtime import Collections, realtime

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Actor)

_LAST_FLUSH_S = 2.0
_UNWRITTEN = "the journal cannot be written: "


class Latched(UserError):
    """The robot is in a fault that a person has not looked at yet."""

    status = FAULT  # so that a supervisor does not try again


class ConnectedRobot:
    """One robot, from connecting to rest.

    `estop` may be tripped from any thread; writing the latch trips it too. `report` tells how the
    loop has kept time. `boot_session` names this life of the process in every episode.
    """

    def __init__(
        self, config: RobotConfig, driver: Driver, recorder: Recorder, boot_session: str = ""
    ) -> None:
        self.config = config
        self.driver = checked(driver, config.driver.name)
        self.recorder = recorder
        self.boot_session = boot_session or uuid.uuid4().hex
        self.states = States()
        self.estop = EStop(
            lambda: latched(config.latch) or "", on_trip=lambda reason: latch(config.latch, reason)
        )
        self.report = CycleReport()
        self._watchdog = Watchdog(self.estop, lambda: hold(self.driver), self._held_for, self._lost)
        self._short = ShortEpisodes()
        self._collections = Collections()
        self._undo = ExitStack()

    @property
    def fault_reason(self) -> str:
        """Why the robot is in fault, with where a journal that was lost is saved by now; empty when
        it is not."""
        reason, broken = self.states.fault_reason, self.recorder.broken
        return f"{_UNWRITTEN}{broken}" if broken and reason.startswith(_UNWRITTEN) else reason

    def require_unlatched(self) -> None:
        """Raise `Latched` while an earlier fault waits for a person."""
        reason = latched(self.config.latch)
        if reason is not None:
            raise Latched(
                f"robot {self.config.name!r} is in fault: {reason}: look at the robot, then re-arm "
                "it with `fieldtune-robot rearm` and this config"
            )

    def connect(self) -> None:
        """Open the hardware and ask for real time; nothing moves yet.

        From here to `close` the caller's thread is the loop's. Raises
        `fieldtune.export.sessions.ProviderError` before anything else, for `policy.providers`.
        """
        require_available(self.config.policy.providers)
        hurried = self.driver.time_scale == 1.0
        priority = self.config.realtime.priority if hurried else None
        reserve(self.config.latch)
        with kept_signals() as taken:
            self.driver.connect()
        if taken:
            log.warning(
                "the driver took %s for itself: given back, since they stop the robot",
                ", ".join(taken),
            )
        self.estop.start(priority)
        self._watchdog.start(priority)
        self._undo.enter_context(realtime(self.config.realtime, self.driver.time_scale))
        log.info("%s connected: %s", self.config.name, self.driver.robot)

    def parts_for(
        self, actor: A, limits: Limits, *, asks_driver: bool = False, told: bool = False
    ) -> LoopParts[A]:
        """What episodes run on in which `actor` acts; limits are logged unless `told` before."""
        for line in [] if told else describe(limits, self.config.limits.max_run_s):
            log.info("%s", line)
        return LoopParts(
            self.driver,
            actor,
            limits,
            self.recorder,
            Clock(self.driver.period_s, self.driver.time_scale),
            self.states,
            self.estop,
            self.report,
            self._collections,
            asks_driver,
        )

    def carry_out(
        self,
        start: Callable[[], None],
        drive: Callable[[], Outcome],
        stop: Callable[[], str],
        horizon: int,
    ) -> Outcome | None:
        """Arm, bring the robot to a start, have an episode driven, and latch what went wrong.

        Args:
            start: brings it there; may be left by an emergency stop, or the end of the run.
            drive: runs the episode, and leaves the robot at rest.
            stop: says why to stop, asked before `start`; empty means go on.
            horizon: of the episode.

        Returns as `run`. Raises `NotOffered` where `start` needs what the hardware does not have:
        the robot is at rest, and in no fault.
        """
        try:
            self.estop.look()
            self.estop.check()
            self.states.to(State.ARMED)
            with self.estop.interrupting():
                if why := stop():
                    raise WaitAbandoned(why)
                start()
        except NotOffered:
            if trouble := hold(self.driver):
                self._fault(trouble, at_rest=False)
            else:
                self.states.to(State.DISARMED)
            raise
        except WaitAbandoned as left:
            if trouble := hold(self.driver):
                self._fault(trouble, at_rest=False)
            else:
                self.states.to(State.DISARMED, f"homing was left: {left}")
            return None
        except (Exception, EmergencyStop) as error:
            self._hold_and_fault(f"bringing the robot to its start: {explain(error)}")
            return None
        except BaseException:
            hold(self.driver)
            raise
        outcome = drive()
        if outcome.fault:
            self._fault(outcome.fault, at_rest=outcome.at_rest)
        elif over_at_once(outcome, horizon):
            # No proof of a bundle, nor blame: each needs a homing, for nothing.
            if why := self._short.add(outcome.steps):
                self._fault(why)
        elif outcome.reason is not EndReason.STOPPED:
            self._short.forget()
        return outcome

    def hold_if_stopped(self) -> None:
        """Hold and latch when the emergency stop was tripped between two episodes, or the journal
        broke."""
        self.fault_if_journal_broke()
        if self.estop.reason and self.states.current is not State.FAULT:
            self._hold_and_fault(self.estop.reason)

    def fault_if_journal_broke(self) -> None:
        """Hold and latch where the journal is lost, or its disk broken: not while an episode runs,
        nor for a disk that only is full. Also after `close`."""
        broken = self.recorder.broken
        if broken is None:
            return
        if self.states.current is not State.FAULT:
            self._hold_and_fault(f"{_UNWRITTEN}{broken}")
        try:  # a latch in a folder that was moved comes and goes with it
            latch_twice(self.config.latch, self.states.reason)
        except OSError as error:
            log.error("%s: the fault is not latched twice: %s", self.config.latch, error)

    def close(self) -> None:
        """Hold, and release the hardware. Safe to call twice."""
        if trouble := close(self.driver):
            self._fault(trouble, at_rest=False)
        self._watchdog.close()
        self.estop.close()
        self._undo.close()
        if self.states.current in (State.HOLD, State.ARMED):
            self.states.to(State.DISARMED)

    def _hold_and_fault(self, reason: str) -> None:
        trouble = hold(self.driver)
        self._fault("; ".join(filter(None, (reason, trouble))), at_rest=not trouble)

    def _fault(self, reason: str, *, at_rest: bool = True) -> None:
        """Only what is at rest is confirmed to be."""
        self.states.fault(reason)
        try:
            latch(self.config.latch, reason)
            if at_rest:
                confirm(self.config.latch)
        except OSError as error:
            log.error("%s: the fault cannot be latched on disk: %s", self.config.latch, error)

    def _held_for(self, reason: str, trouble: str) -> None:
        """The watchdog has held in the loop's place, or could not."""
        self._fault("; ".join(filter(None, (reason, trouble))), at_rest=not trouble)

    def _lost(self, reason: str) -> None:
        """The loop will not come back, and this process is about to end."""
        log.error("this process ends: %s", reason)
        self.recorder.flush(_LAST_FLUSH_S)


def over_at_once(outcome: Outcome, horizon: int) -> bool:
    """Whether an episode was terminated so early that it cannot have been worth its homing."""
    return outcome.reason is EndReason.TERMINATED and is_short(outcome.steps, horizon)
