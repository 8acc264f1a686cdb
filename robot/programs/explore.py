"""The daemon: explores without rewards, trial after trial, and changes bundles between episodes.

Joins the runner, the exploration schedule and the bridge. It must not know what happens inside a
control period, nor how messages travel.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldtune.robot.bridge.bundle_fetch import FetchRules
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.curve_keys import bridge_keys
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.episode_runner import BundleRefused, EpisodeRunner
from fieldtune.robot.loop.states import State
from fieldtune.robot.monitor.status import StatusReporter
from fieldtune.robot.policy.bundle_judge import BundleJudge
from fieldtune.robot.policy.bundle_store import forget_bundles, stored_bundles
from fieldtune.robot.policy.bundle_trial import TrialStopped
from fieldtune.robot.policy.exploration import Draws, Exploration
from fieldtune.robot.policy.labelling import Labeller

log = logging.getLogger(__name__)

FLUSH_S = 60.0  # for uploads, when the trainer is there and nobody waits for this to end
STOPPED_FLUSH_S = 5.0
_POLL_S = 0.1


@dataclass
class Summary:
    """What a run of the daemon came to.

    `fault` is a robot's fault, or a journal that could not be written or is full; empty when all
    was well.
    `skipped` counts control periods that were left out, `cycles` is `CycleReport.summary`.
    `bundles_swapped` does not count the first bundle. `uploaded` says whether the trainer has
    confirmed every episode in the journal; None without a bridge.
    """

    episodes: int = 0
    steps: int = 0
    overruns: int = 0
    skipped: int = 0
    bundles_swapped: int = 0
    bundle: str = ""
    uploaded: bool | None = None
    ended: str = ""
    fault: str = ""
    complete: bool = False
    cycles: dict[str, Any] = field(default_factory=dict)


class Daemon:
    """One robot's exploration, from connecting to rest.

    Args:
        config: the robot's settings.
        driver: the hardware, disconnected.
        bundle: start with this bundle instead of the newest in the state folder.
        episodes: end after this many; None explores until asked to stop.
        judge: where the first bundle's trial has begun already.

    Raises `fieldtune.robot.bridge.wire.WireError` for a bridge address that may not be used,
    `fieldtune.robot.curve_keys.KeysError` for keys that cannot be.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        *,
        bundle: Path | None = None,
        episodes: int | None = None,
        judge: BundleJudge | None = None,
    ) -> None:
        self.config = config
        self.summary = Summary()
        self._recorder = Recorder(
            config.journal, quota_bytes=config.journal_quota_bytes, beside=config.bundles
        )
        self._runner = EpisodeRunner(config, driver, self._recorder, judge)
        self._runner.states.on_change = self._report
        self.estop = self._runner.estop
        rules = FetchRules(config.bundle_quota_bytes, self._needed_bundles, self._why_bad)
        self._bridge = _bridge(config, self._runner.boot_session, rules)
        if self._bridge is not None:
            self.estop.ask(self._bridge.emergency)
        self._reporter = StatusReporter(
            config, "exploring", self._runner, self._recorder, self._bridge
        )
        self._first_bundle = bundle
        self._wanted_episodes = episodes
        self._stop_reason = ""
        self._started_s = 0.0
        self._current: Path | None = None
        self._refused: set[Path] = set()

    def request_stop(self, reason: str) -> None:
        """End the running episode safely, then the run. Safe in a signal handler."""
        self._stop_reason = reason

    def run(self) -> Summary:
        """Explore until done, asked to stop, or in fault; then upload what is left.

        Raises:
            BundleRefused: there is no bundle to start with, and none to wait for.
            BundleRecordError: what is known of bundles cannot be read.
            Latched, DriverFault, LimitFault, JournalError: the robot could not begin.
        """
        self._started_s = time.monotonic()
        with ExitStack() as closing:  # the robot first, then the journal, then the uploads
            closing.callback(self._reporter.close)
            closing.callback(self._close_bridge)
            closing.callback(self._recorder.close)
            closing.callback(self._runner.close)
            closing.callback(self._reporter.end)
            self._runner.require_unlatched()
            self._runner.judge.record  # noqa: B018 - unreadable is known before anything begins
            self._require_hope()
            for path in self._candidates(starting=True)[:1]:
                self._runner.judge.expect(path)
            if self._first_bundle is not None:
                self._runner.fits(self._first_bundle)
            self._recorder.start()
            self._reporter.start()
            if self._bridge is not None:
                self._bridge.start()
            self._runner.connect()
            self._runner.require_unlatched()  # somebody may have latched it meanwhile
            self._explore()
            log.info("end: %s", self.summary.ended)
            self.summary.cycles = self._runner.report.summary()
            for line in self._runner.report.lines():
                log.info("%s", line)
        self.summary.fault = self._runner.states.fault_reason or self._journal_trouble()
        return self.summary

    def _explore(self) -> None:
        exploration: Exploration | None = None
        while not (ended := self._why_end()):
            try:
                exploration = self._bundle_for_next(exploration)
            except TrialStopped:
                continue
            if self._recorder.full is not None:
                self._wait_for_room()
            elif exploration is None:
                self._wait_for_bundle()
            else:
                self._one_episode(exploration)
        self.summary.ended = ended
        self.summary.complete = self.summary.episodes == self._wanted_episodes
        self.summary.fault = self._runner.states.fault_reason or self.summary.fault

    def _bundle_for_next(self, exploration: Exploration | None) -> Exploration | None:
        """The schedule to go on with: restarted after a swap, None while there is no bundle."""
        if self._bridge is not None:
            for verdict in self._bridge.verdicts():
                self._runner.judge.note(verdict)
        for path in self._candidates(starting=exploration is None):
            try:
                policy = self._runner.take(path, self._why_end).policy
            except BundleRefused as error:
                if path == self._first_bundle:
                    raise
                self._refused.add(path)
                log.error("%s%s", error, "; the old one stays" if exploration else "")
                continue
            self._current = path
            if policy.bundle_id == self.summary.bundle:
                return exploration
            self.summary.bundle = policy.bundle_id
            self._report()
            if exploration is None:
                return Exploration(
                    self.config.exploration, self.config.seed, policy.task_embeddings
                )
            self.summary.bundles_swapped += 1
            exploration.restart(policy.task_embeddings)
            self._forget_bundles()
            break
        return exploration

    def _forget_bundles(self) -> None:
        """Keep the folder from growing for ever.

        What episodes ran stays, to name their numbers, and the proven one, to go back to.
        """
        try:
            with Journal.read(self.config.journal) as journal:
                needed = journal.bundles()
        except JournalError as error:
            log.warning("old bundles stay: %s", error)
            return
        forget_bundles(self.config.bundles, needed | self._needed_bundles())

    def _needed_bundles(self) -> set[str]:
        """The one in use, and the proven one, to go back to."""
        proven = self._runner.judge.record.newest_proven
        return {self.summary.bundle} if proven is None else {self.summary.bundle, proven}

    def _why_bad(self, bundle_id: str) -> str | None:
        return self._runner.judge.record.why_bad(bundle_id)

    def _candidates(self, starting: bool) -> list[Path]:
        """Bundles to try now, newest first. Only at the start are older files worth a try."""
        offered = self._bridge.newest_bundle() if self._bridge is not None else None
        paths = [] if offered is None else [offered]
        if starting and self._first_bundle is not None:
            paths = [self._first_bundle]
        elif starting or self._bridge is None:
            paths += stored_bundles(self.config.bundles)
        paths = [path for path in paths if path not in self._refused]
        if starting:
            return paths
        return [path for path in paths[:1] if path != self._current]

    def _require_hope(self) -> None:
        """Raise `BundleRefused` where there is no bundle left to try and none can come."""
        if self._bridge is None and not self._candidates(starting=True):
            raise BundleRefused(
                f"no bundle that this robot can run in {self.config.bundles}: put one there, give "
                "--bundle, or set robot.bridge to the trainer's address"
            )

    def _wait_for_bundle(self) -> None:
        self._require_hope()
        assert self._bridge is not None
        log.info("waiting for a bundle from %s", self._bridge.address)
        while not self._why_end() and not self._candidates(starting=True):
            time.sleep(_POLL_S)

    def _wait_for_room(self) -> None:
        """Rest until the trainer has acknowledged enough; alone, nobody ever will."""
        if self._bridge is None:
            self.summary.fault = self._recorder.full or ""
        while not self._why_end() and self._recorder.full is not None:
            time.sleep(_POLL_S)

    def _one_episode(self, exploration: Exploration) -> None:
        assert self._runner.parts is not None
        number = self._recorder.next_number()
        plan = exploration.plan(number)
        draws = Draws(self.config.seed, number)
        labeller = Labeller(self._runner.parts.policy, exploration, plan, self.estop.lent)
        outcome = self._runner.run(
            plan.mode,
            number,
            plan.trial,
            exploration.z_source(plan, draws.z),
            draws,
            noise=True,
            follow=labeller.follow,
            stop=self._why_stop_now,
            clock_offset=self._bridge.clock if self._bridge is not None else lambda: None,
            label_task=plan.label_task,
        )
        labeller.label()
        if outcome is not None:
            self.summary.episodes += 1
            self.summary.skipped += outcome.skipped
            self.summary.steps += outcome.steps
            self.summary.overruns += outcome.overruns
            if outcome.reason is not EndReason.STOPPED:
                exploration.finish()

    def _why_stop_now(self) -> str:
        """Why the running episode must end at once; empty when it need not."""
        self._reporter.beat()
        longest_s = self.config.limits.max_run_s
        if self._stop_reason:
            return self._stop_reason
        self.summary.fault = self._journal_trouble()
        if self.summary.fault:
            return self.summary.fault
        if longest_s is not None and time.monotonic() - self._started_s > longest_s:
            return f"robot.limits.max_run_s, {longest_s:g} s, is over"
        return ""

    def _journal_trouble(self) -> str:
        """What is wrong with the journal, or was once in this run; empty when nothing was."""
        if self._recorder.error:
            return f"the journal cannot be written: {self._recorder.error}"
        return self.summary.fault

    def _why_end(self) -> str:
        """Why no other episode may begin; empty when one may."""
        self._runner.hold_if_stopped()
        if self._runner.states.current is State.FAULT:
            return f"fault: {self._runner.states.reason}"
        if self.summary.episodes == self._wanted_episodes:
            return f"{self.summary.episodes} episodes are done"
        if self._bridge is not None and self._bridge.stop_requested():
            return "the trainer asked to stop"
        return self._why_stop_now()

    def _report(self) -> None:
        if self._bridge is not None:
            self._bridge.report(self._runner.states.current, self.summary.bundle)

    def _close_bridge(self) -> None:
        if self._bridge is None:
            return
        patient = self._bridge.connected() and not self._stop_reason
        flush_s = FLUSH_S if patient else STOPPED_FLUSH_S
        log.info("uploading what the trainer does not have yet, for at most %g s", flush_s)
        self.summary.uploaded = self._bridge.close(flush_s)
        if not self.summary.uploaded:
            log.warning("some episodes are not uploaded: they stay in %s", self.config.journal)


def _bridge(config: RobotConfig, boot_session: str, rules: FetchRules) -> BridgeClient | None:
    if config.bridge is None:
        return None
    return BridgeClient(
        config.bridge,
        config.name,
        config.family,
        boot_session,
        config.journal,
        config.bundles,
        bridge_keys(config),
        rules,
    )
