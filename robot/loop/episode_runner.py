"""A robot made ready to run episodes: its bundle checked, its limits built, its faults latched.

Joins driver, policy, limits and recorder. It must not know which episodes to run, nor the network.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.exit_status import FAULT
from fieldtune.export.bundle import Bundle
from fieldtune.export.sessions import require_available
from fieldtune.robot.bundles.judge import BundleJudge
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Mode, ToldTask
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.bundle_fit import fit, refusing
from fieldtune.robot.loop.control_loop import run_episode
from fieldtune.robot.loop.parts import Actor, EpisodeSpec, LoopParts, Outcome
from fieldtune.robot.loop.short_episodes import ShortEpisodes, is_short
from fieldtune.robot.loop.states import State, States
from fieldtune.robot.policy.exploration import Draws, NextZ
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.build import describe
from fieldtune.robot.safety.estop import EmergencyStop, EStop, WaitAbandoned
from fieldtune.robot.safety.fault import explain
from fieldtune.robot.safety.latch import confirm, latch, latch_twice, latched, reserve
from fieldtune.robot.safety.limits import Limits, check_observation
from fieldtune.robot.safety.rest import close, hold, kept_signals
from fieldtune.robot.safety.watchdog import Watchdog
from fieldtune.robot.timing.clock import Clock
from fieldtune.robot.timing.cycle_report import CycleReport
from fieldtune.robot.timing.realtime import Collections, realtime

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
A = TypeVar("A", bound=Actor)

_LAST_FLUSH_S = 2.0
_UNWRITTEN = "the journal cannot be written: "


class Latched(UserError):
    """The robot is in a fault that a person has not looked at yet."""

    status = FAULT  # so that a supervisor does not try again


class EpisodeRunner:
    """One connected robot. `parts` is None until a bundle has been taken.

    `estop` may be tripped from any thread; writing the latch trips it too. `report` tells how the
    loop has kept time, `judge` which bundles may run. `boot_session` names this life of the process
    in every episode.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        recorder: Recorder,
        judge: BundleJudge | None = None,
        boot_session: str = "",
    ) -> None:
        self.config = config
        self.driver = checked(driver, config.driver.name)
        self.recorder = recorder
        self.boot_session = boot_session or uuid.uuid4().hex
        self.states = States()
        self.parts: LoopParts[Policy] | None = None
        self.estop = EStop(
            lambda: latched(config.latch) or "", on_trip=lambda reason: latch(config.latch, reason)
        )
        self.report = CycleReport()
        self.judge = judge or BundleJudge(config.bundle_record, config.probation_episodes)
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

    def check(self, path: Path, why_stop: Callable[[], str] = lambda: "") -> tuple[Bundle, Limits]:
        """Try a bundle in a process of its own and check it against this robot, connected or not.

        One that was tried here before is not tried again. `why_stop` is asked while a trial goes
        on.

        Raises:
            BundleRefused: also for one that faulted on probation, or failed a trial before.
            fieldtune.robot.bundles.trial.TrialStopped: `why_stop` gave a reason.
            fieldtune.robot.bundles.trust.BundleRecordError: what is known of bundles cannot
            be read.
        """
        with refusing(path):
            bundle = self.judge.sound(path, why_stop)
            return bundle, fit(bundle.manifest, self.config, self.driver)

    def fits(self, path: Path) -> None:
        """The same without a trial: for a clear word before anything is opened.

        Raises `BundleRefused`, `fieldtune.robot.bundles.trust.BundleRecordError`.
        """
        with refusing(path):
            fit(self.judge.read(path).manifest, self.config, self.driver)

    def take(self, path: Path, why_stop: Callable[[], str] = lambda: "") -> LoopParts[Policy]:
        """Check a bundle, dry-run it on what the robot senses now, and use it from now on.

        Raises:
            BundleRefused, TrialStopped, BundleRecordError: as `check`; the bundle in use before
                stays.
            LimitFault: what the robot senses now is nothing to act on, whichever the bundle.
        """
        bundle, limits = self.check(path, why_stop)
        observation = self.driver.read().values
        with refusing(path):
            check_observation(observation, 0.0, limits)
            known = self.config.policy
            policy = Policy(bundle, known.providers, known.tolerance)
            policy.dry_run(observation)
        parts = self.parts_for(policy, limits, told=self.parts is not None)
        log.info("bundle %s in use, on %s", parts.policy.bundle_id[:12], policy.provider)
        self.parts = parts
        return parts

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

    def run(
        self,
        mode: Mode,
        number: int,
        trial: int,
        z: NextZ,
        draws: Draws,
        *,
        noise: bool,
        follow: Callable[[Array, Array, Array], None],
        stop: Callable[[], str],
        clock_offset: Callable[[], tuple[int, int] | None] = lambda: None,
        label_task: int | None = None,
        task: ToldTask | msgspec.UnsetType = msgspec.UNSET,
    ) -> Outcome | None:
        """Arm, bring the robot to a start, run one episode, and leave it at rest.

        Args:
            mode: whether z is from the prior or from a posterior, for the header.
            number: of the episode, in the journal.
            trial: number of the trial that it belongs to.
            z: where each step takes its z from.
            draws: the start's seed, and the noise of actions.
            noise: whether actions are drawn; otherwise they are the policy's mean.
            follow: told each transition (observation, applied action, next observation) as soon as
                it is complete.
            stop: says why to stop, asked before homing and every period; empty means go on.
            clock_offset: the trainer's clock minus this robot's, and its uncertainty, in ns, asked
                when the episode has ended; None where it is not known.
            label_task: index of the task embedding that labels the episode; None where true rewards
                do.
            task: what a person said that it is.

        Returns:
            None when the robot faulted before the episode began, or there was reason to stop.
        """
        parts = self.parts
        assert parts is not None, "take() a bundle first"
        manifest, bundle_id = parts.policy.manifest, parts.policy.bundle_id

        def drive() -> Outcome:
            header = EpisodeHeader(
                robot=self.config.name,
                family=manifest.family,
                boot_session=self.boot_session,
                number=number,
                trial=trial,
                bundle_id=bundle_id,
                mode=mode,
                seed=self.config.seed,
                started_ns=parts.clock.now_ns(),
                period_s=self.driver.period_s,
                label_task=label_task,
                task=task,
            )
            spec = EpisodeSpec(
                header=header,
                horizon=manifest.horizon,
                z=z,
                noise=draws.noise if noise else None,
                follow=follow,
                stop=stop,
                clock_offset=clock_offset,
                noise_scale=self.config.exploration.action_noise,
            )
            return run_episode(parts, spec)

        def home() -> None:
            self.driver.home(draws.start_seed)

        outcome = self.carry_out(home, drive, stop, manifest.horizon)
        if outcome is None:
            return None
        if outcome.fault:
            self.judge.record.faulted(bundle_id, outcome.fault)
        elif outcome.reason is not EndReason.STOPPED and not _short(outcome, manifest.horizon):
            self.judge.record.passed(bundle_id)
        return outcome

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
        elif _short(outcome, horizon):
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
        self.judge.close()
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
        if self.parts is not None:
            self.judge.record.faulted(self.parts.policy.bundle_id, reason)
        self.recorder.flush(_LAST_FLUSH_S)


def _short(outcome: Outcome, horizon: int) -> bool:
    return outcome.reason is EndReason.TERMINATED and is_short(outcome.steps, horizon)
