"""A robot made ready to run episodes of bundles: these checked, its limits built, taken, and run.

Joins a connected robot with policy and limits. It must not know which episodes to run, nor the
network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.robot.bundles.judge import BundleJudge
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Mode, ToldTask
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.bundle_fit import fit, refusing
from fieldtune.robot.loop.connected_robot import ConnectedRobot, over_at_once
from fieldtune.robot.loop.control_loop import run_episode
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts, Outcome
from fieldtune.robot.policy.exploration import Draws, NextZ
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.limits import Limits, check_observation

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


class EpisodeRunner(ConnectedRobot):
    """One connected robot that runs bundles. `parts` is None until one has been taken; `judge` says
    which may run."""

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        recorder: Recorder,
        judge: BundleJudge | None = None,
        boot_session: str = "",
    ) -> None:
        super().__init__(config, driver, recorder, boot_session)
        self.parts: LoopParts[Policy] | None = None
        self.judge = judge or BundleJudge(config.bundle_record, config.probation_episodes)

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
        elif outcome.reason is not EndReason.STOPPED and not over_at_once(
            outcome, manifest.horizon
        ):
            self.judge.record.passed(bundle_id)
        return outcome

    def close(self) -> None:
        """As `ConnectedRobot.close`."""
        super().close()
        self.judge.close()

    def _lost(self, reason: str) -> None:
        """The loop will not come back, and this process is about to end."""
        if self.parts is not None:
            self.judge.record.faulted(self.parts.policy.bundle_id, reason)
        super()._lost(reason)
