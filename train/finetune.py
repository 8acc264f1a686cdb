"""`fieldtune finetune`: the trainer's side of the loop with robots.

Takes reward-free episodes from the hub, labels them, trains while the robots keep running, and
publishes a new bundle every so many updates. Killed at any moment, it continues from its
checkpoint and its inbox.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot.episode import EndReason, Episode
from sim.family import width
from sim.rollout import LabelledEpisode
from train.bundles import Exporter
from train.curves import Curves
from train.hub import Hub
from train.run import Run
from train.self_supervised import SelfSupervisedPhase

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


OnProgress = Callable[[FinetuneProgress], None]


class Finetune:
    """One phase 2 fed by robots."""

    def __init__(self, run: Run, hub: Hub) -> None:
        self.run, self.hub = run, hub
        self.phase = SelfSupervisedPhase(run)
        if run.finetune_checkpoint.exists():
            self.phase.restore(run.finetune_checkpoint)
            log.info("resuming at update %d", self.phase.updates)
        self._exporter = Exporter(run, self.phase.average)
        facts = self.phase.facts
        self.seen = set(facts.get("episodes", []))  # type: ignore[call-overload]
        self.bundles = int(facts.get("bundles", 0))  # type: ignore[call-overload]
        self._parent: str | None = None

    def work(self, on_progress: OnProgress = lambda _: None) -> SelfSupervisedPhase:
        """Train to the end, then let the robots fetch the last bundle and send them home."""
        settings = self.run.config.self_supervised
        self._publish()
        with Curves(self.run.curves / "self-supervised") as curves:
            while self.phase.updates < settings.updates:
                self._ingest()
                on_progress(self._progress())
                due = min(self.phase.allowed_updates, self.phase.updates + LOOK_EVERY)
                if self.phase.updates >= due:
                    time.sleep(POLL_S)
                while self.phase.updates < due:
                    metrics = self.phase.update()
                    curves.add(self.phase.updates, metrics)
                    if self.phase.updates % settings.publish_every == 0:
                        self._publish()
                    if self.phase.updates % settings.checkpoint_every == 0:
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
        for sha256, episode in self.hub.episodes(after=self.seen):
            self.seen.add(sha256)
            reason = unusable(self.run, episode)
            if reason:
                log.warning("episode %s is not learned from: %s", sha256[:12], reason)
            elif not self.phase.full:
                self.phase.add_unlabelled([as_trajectory(episode)])

    def _publish(self) -> None:
        path = self.run.bundles / "latest.bundle"
        bundle = self._exporter.write(
            path,
            phase="self-supervised" if self.phase.updates else "offline",
            updates=self.phase.updates or self.run.config.offline.updates,
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
        while time.monotonic() < deadline and any(r.pending for r in self._present()):
            time.sleep(POLL_S)

    def _present(self) -> list:
        horizon_ns = 5_000_000_000
        now = time.monotonic_ns()
        return [robot for robot in self.hub.robots() if now - robot.seen_ns < horizon_ns]

    def _progress(self) -> FinetuneProgress:
        return FinetuneProgress(
            updates=self.phase.updates,
            steps=self.phase.steps,
            episodes=len(self.seen),
            bundles=self.bundles,
            robots=len(self._present()),
        )


def unusable(run: Run, episode: Episode) -> str:
    """Why an episode cannot be learned from; empty when it can."""
    if episode.header.family != run.family.name:
        return f"family is {episode.header.family!r}, this run's is {run.family.name!r}"
    if not episode.steps:
        return "it has no steps"
    sizes = {len(step.observation) for step in episode.steps} | {
        len(episode.footer.final_observation)
    }
    expected = width(run.family.observation_fields)
    if sizes != {expected}:
        return f"observations are {sorted(sizes)} wide, expected {expected}"
    actions = {len(step.applied) for step in episode.steps}
    if actions != {width(run.family.action_fields)}:
        return f"actions are {sorted(actions)} wide, expected {width(run.family.action_fields)}"
    numbers = [*_observations(episode), *[step.applied for step in episode.steps]]
    if not all(np.isfinite(row).all() for row in numbers):
        return "an observation or action is not finite"
    return ""


def as_trajectory(episode: Episode) -> LabelledEpisode:
    """A robot's episode as training data: the *applied* actions, rewards unknown (NaN)."""
    return LabelledEpisode(
        task_index=-1,
        observations=np.array(_observations(episode)),
        actions=np.array([step.applied for step in episode.steps]),
        rewards=np.full(len(episode.steps), np.nan),
        terminated=episode.footer.end_reason is EndReason.TERMINATED,
    )


def _observations(episode: Episode) -> list[list[float]]:
    return [*[step.observation for step in episode.steps], episode.footer.final_observation]
