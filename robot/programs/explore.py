"""The daemon: explores without rewards, trial after trial, and changes bundles between episodes.

Joins a robot's session with the exploration schedule and the bridge. It must not know what happens
inside a control period, nor how messages travel.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldtune.robot.bridge.bundle_fetch import FetchRules
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.bundles.judge import BundleJudge
from fieldtune.robot.bundles.store import forget_bundles, stored_bundles
from fieldtune.robot.bundles.trial import TrialStopped
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.curve_keys import bridge_keys
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.loop.bundle_fit import BundleRefused
from fieldtune.robot.policy.exploration import Draws, Exploration
from fieldtune.robot.policy.labelling import Labeller
from fieldtune.robot.programs.session import RobotSession

log = logging.getLogger(__name__)

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
    """One robot's exploration, from connecting to rest. `robot` is what is stopped.

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
        boot_session = uuid.uuid4().hex
        rules = FetchRules(config.bundle_quota_bytes, self._needed_bundles, self._why_bad)
        self._bridge = _bridge(config, boot_session, rules)
        self.robot = RobotSession(
            config,
            driver,
            "exploring",
            judge=judge,
            uplink=self._bridge,
            boot_session=boot_session,
        )
        self._runner, self._recorder = self.robot.runner, self.robot.recorder
        self._runner.states.on_change = self._report
        self._first_bundle = bundle
        self._wanted_episodes = episodes
        self._current: Path | None = None
        self._refused: set[Path] = set()

    def run(self) -> Summary:
        """Explore until done, asked to stop, or in fault; then upload what is left.

        Raises:
            BundleRefused: there is no bundle to start with, and none to wait for.
            BundleRecordError: what is known of bundles cannot be read.
            Latched, DriverFault, LimitFault, JournalError: the robot could not begin.
        """
        with self.robot.connected(self._check):
            self._explore()
            log.info("end: %s", self.summary.ended)
            self.summary.cycles = self.robot.cycles
            for line in self._runner.report.lines():
                log.info("%s", line)
        self.summary.uploaded, self.summary.fault = self.robot.uploaded, self.robot.fault
        return self.summary

    def _check(self) -> None:
        """Nothing is open yet: what can be told of bundles now is told now."""
        self._runner.judge.record  # noqa: B018 - unreadable is known before anything begins
        self._require_hope()
        for path in self._candidates(starting=True)[:1]:
            self._runner.judge.expect(path)
        if self._first_bundle is not None:
            self._runner.fits(self._first_bundle)

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
                    self.config.exploration,
                    self.config.seed,
                    policy.task_embeddings,
                    policy.prior(),
                )
            self.summary.bundles_swapped += 1
            exploration.restart(policy.task_embeddings, policy.prior())
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
            self.robot.give_up(self._recorder.full or "")
        while not self._why_end() and self._recorder.full is not None:
            time.sleep(_POLL_S)

    def _one_episode(self, exploration: Exploration) -> None:
        assert self._runner.parts is not None
        number = self._recorder.next_number()
        plan = exploration.plan(number)
        draws = Draws(self.config.seed, number)
        estop = self.robot.estop
        labeller = Labeller(
            self._runner.parts.policy,
            exploration,
            plan,
            estop.lent,
            lambda: estop.reason or self.robot.why_stop(),
        )
        outcome = self._runner.run(
            plan.mode,
            number,
            plan.trial,
            exploration.z_source(plan, draws.z),
            draws,
            noise=True,
            follow=labeller.follow,
            stop=self.robot.why_stop,
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

    def _why_end(self) -> str:
        """Why no other episode may begin; empty when one may."""
        return self.robot.why_faulted() or self._why_done() or self.robot.why_stop()

    def _why_done(self) -> str:
        if self.summary.episodes == self._wanted_episodes:
            return f"{self.summary.episodes} episodes are done"
        if self._bridge is not None and self._bridge.stop_requested():
            return "the trainer asked to stop"
        return ""

    def _report(self) -> None:
        if self._bridge is not None:
            self._bridge.report(self._runner.states.current, self.summary.bundle)


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
