"""`fieldtune finetune`: the trainer's side of the loop with robots.

Takes the policy's episodes from the hub, labels them, trains while the robots keep running, and
publishes a new bundle every so many updates. What no robot can have measured is quarantined. Killed
at any moment, it continues from its checkpoint and its inbox; a full disk only delays bundles and
checkpoints.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from fieldtune.robot.episodes.episode import RECORDED, EndReason, Episode
from fieldtune.sim.family import width
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.quarantine import Quarantine, Quarantined
from fieldtune.train.bridge.sessions import PRESENT_S, RobotView
from fieldtune.train.data.admission import problem
from fieldtune.train.data.plausible import Plausible
from fieldtune.train.data.robot_episode import as_trajectory, columns
from fieldtune.train.device import device_of, memory_explained
from fieldtune.train.phases.retried_write import RetriedWrite
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.phases.stopping import between_updates
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.capabilities import require_exportable
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.run import Run

log = logging.getLogger(__name__)

POLL_S = 0.05
LOOK_EVERY = 20  # updates between looks into the inbox
FAREWELL_S = 15.0


@dataclass(frozen=True)
class FinetuneProgress:
    """What a person watching wants to know."""

    updates: int
    steps: int
    episodes: int
    bundles: int
    robots: int
    quarantined: int = 0


OnProgress = Callable[[FinetuneProgress], None]


class Finetune:
    """One phase 2 fed by robots."""

    def __init__(self, run: Run, hub: Hub) -> None:
        self.run, self.hub = run, hub
        self.phase = SelfSupervisedPhase(run)
        if run.finetune_checkpoint.exists():
            self.phase.restore(run.finetune_checkpoint)
            log.info("resuming at update %d", self.phase.updates)
        exportable = require_exportable(run, self.phase.average)
        self._exporter = Exporter(run, exportable, self.phase.offline)
        facts = self.phase.facts
        self.seen = set(facts.get("episodes", []))  # type: ignore[call-overload]
        self.bundles = int(facts.get("bundles", 0))  # type: ignore[call-overload]
        self._parent: str | None = None
        self._quarantine = Quarantine(run.folder)
        self.quarantined = set(self._quarantine.addresses())
        self._recorded: set[str] = set()  # of no policy: for phase 1, by `fieldtune import`

    def work(self, on_progress: OnProgress = lambda _: None) -> SelfSupervisedPhase:
        """Train to the end, then let the robots fetch the last bundle and send them home.

        Raises:
            TrainingDiverged: with the update and the loss; checkpoint and bundle stay the last ones
                that were finite, and robots go on with that bundle.
            DeviceError: the GPU's memory is full.
        """
        settings = self.run.config.self_supervised
        watch = Watch(
            self.run.finetune_checkpoint, "self_supervised.learning_rate", settings.learning_rate
        )
        bundle = RetriedWrite("a bundle", self._publish)
        checkpoint = RetriedWrite("a checkpoint", self._save)
        bundle.write()
        with (
            memory_explained(self.run.config.device),
            Curves.of(self.run, "self-supervised", self.phase.updates) as curves,
            between_updates() as stopped,
        ):
            readings = Readings(device_of(self.phase.learner), watch.look, curves.add)
            while self.phase.updates < settings.updates and not stopped():
                self._ingest()
                if stopped():
                    break
                on_progress(self._progress())
                bundle.retry_if_due()
                checkpoint.retry_if_due()
                due = min(self.phase.allowed_updates, self.phase.updates + LOOK_EVERY)
                if self.phase.updates >= due:
                    time.sleep(POLL_S)
                while self.phase.updates < due and not stopped():
                    metrics = self.phase.update()
                    metrics["robots/quarantined"] = len(self.quarantined)
                    readings.add(self.phase.updates, metrics)
                    if self.phase.updates % settings.publish_every == 0:
                        readings.read()
                        bundle.write()
                    if self.phase.updates % settings.checkpoint_every == 0:
                        readings.read()
                        checkpoint.write()
            readings.read()
            # One of no update would bind phase 1 for nothing; one of all is saved below, with a
            # bundle of it published.
            if stopped() and 0 < self.phase.updates < settings.updates:
                self._save()
        if settings.updates % settings.publish_every:
            self._publish()
        self._save()
        self._farewell()
        on_progress(self._progress())
        return self.phase

    def _ingest(self) -> None:
        if self.phase.full:
            return
        known = self.seen | self.quarantined | self._recorded
        for sha256, episode in self.hub.episodes(after=known):
            if episode.header.mode in RECORDED:
                self._leave_to_import(sha256, episode)
                continue
            reason = unusable(self.run, episode, self.phase.plausible)
            if reason:
                self._set_aside(sha256, episode, reason)
                continue
            self.seen.add(sha256)
            if not self.phase.full:
                self.phase.add_unlabelled([as_trajectory(episode)], [episode.header.label_task])

    def _leave_to_import(self, sha256: str, episode: Episode) -> None:
        if not self._recorded:
            log.info(
                "episode %s of robot %r is %s, and no exploration: its kind stays in the inbox for "
                "`fieldtune import --journal`",
                sha256[:12],
                episode.header.robot,
                episode.header.mode,
            )
        self._recorded.add(sha256)

    def _set_aside(self, sha256: str, episode: Episode, reason: str) -> None:
        """Leave it out, now and after a restart; its bytes stay in the inbox."""
        robot, number = episode.header.robot, episode.header.number
        named = f"episode {sha256[:12]} ({number} of robot {robot!r})"
        log.warning("%s is not learned from: %s", named, reason)
        self.quarantined.add(sha256)
        try:
            self._quarantine.put(sha256, Quarantined(robot, number, reason))
        except OSError as error:  # the next start looks at it again
            log.warning("%s cannot be noted in the quarantine: %s", named, error)

    def _publish(self) -> None:
        path = self.run.bundles / "latest.bundle"
        bundle = self._exporter.write(
            path,
            phase="self-supervised" if self.phase.updates else "offline",
            updates=self.phase.updates or self.phase.parent["updates"],
            parent=self._parent,
        )
        self._parent = bundle.id
        self.hub.publish(path)
        self.bundles += 1
        log.info("published bundle %s after %d updates", bundle.id[:12], self.phase.updates)

    def _save(self) -> None:
        self.phase.facts = {"episodes": sorted(self.seen), "bundles": self.bundles}
        self.phase.save(self.run.finetune_checkpoint)

    def _farewell(self) -> None:
        """Give robots a moment to take the last bundle, and to send what they still hold."""
        deadline = time.monotonic() + FAREWELL_S
        while time.monotonic() < deadline:
            if all(robot.bundle_id == self._parent for robot in self._present()):
                break
            time.sleep(POLL_S)
        self.hub.request_stop()
        asked = time.monotonic()
        while (since := time.monotonic() - asked) < FAREWELL_S and any(
            robot.pending or robot.silent_s > since for robot in self._present()
        ):
            time.sleep(POLL_S)

    def _present(self) -> list[RobotView]:
        return [robot for robot in self.hub.robots() if robot.silent_s < PRESENT_S]

    def _progress(self) -> FinetuneProgress:
        return FinetuneProgress(
            updates=self.phase.updates,
            steps=self.phase.steps,
            episodes=len(self.seen),
            bundles=self.bundles,
            robots=len(self._present()),
            quarantined=len(self.quarantined),
        )


def unusable(run: Run, episode: Episode, where: Plausible | None = None) -> str:
    """Why an episode cannot be learned from; empty when it can.

    Args:
        where: where its numbers must be; the family's declared bounds where not given.
    """
    if episode.header.family != run.family.name:
        return f"family is {episode.header.family!r}, this run's is {run.family.name!r}"
    if episode.footer.end_reason is EndReason.LATE:
        return "the robot left out too many of its control periods (robot.limits.late_fraction)"
    observations, actions = columns(episode)
    if not actions:
        return "it has no complete step"
    for kind, rows, fields in (
        ("observation", observations, run.family.observation_fields),
        ("action", actions, run.family.action_fields),
    ):
        sizes = sorted({len(row) for row in rows})
        if sizes != [width(fields)]:
            return f"{kind}s are {sizes} wide, expected {width(fields)}"
    return problem(as_trajectory(episode), run.family, where, labelled=False)
