"""What a trial's context says of the task, computed anew by the functions that the robot uses.

Knows episodes, rewards and a bundle's graphs; not where they come from, nor how it is shown. The
robot is asked for nothing: its journal and its bundle say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.episodes.episode import EpisodeHeader, Mode, Step
from fieldtune.robot.policy.evidence import Evidence, Transition
from fieldtune.robot.policy.exploration import label_threshold
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.policy.refinement import MOST, Rewarded
from fieldtune.robot.view.news import News

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Believed:
    """What is believed once the transition from `step` on is taken in. `label` is the reward that
    the robot's own decoder gave it; None where a person or a sensor did."""

    step: int
    posterior: Posterior
    label: float | None


class Beliefs:
    """Follows one trial after another, of the episodes of one bundle.

    While a robot explores, the context of a trial are the transitions of its prior episodes, with
    the labels that the robot's seed draws; the robot itself weighs them when the episode is over.
    While it adapts, they are all that were rewarded in the trial. `posterior` is the latest, `base`
    that before the episode, refined as the robot does it.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.posterior: Posterior = policy.prior()
        self.base = self.posterior
        self._trial: int | None = None
        self._number = 0
        self._waiting: Step | None = None
        self._seen: list[Transition] = []
        self._rewards: Mapping[int, float] = {}  # of this episode's steps
        self._context: list[Rewarded] = []  # of the episodes before it

    def hear(self, news: News) -> list[Believed]:
        """What is believed after each transition that is new here, in order.

        Raises:
            PolicyError, ValueError: a graph gives none, or nonsense.
        """
        header = news.entry.header
        if header.number < self._number:  # a late reward of an episode that others built on
            return []
        if header.trial != self._trial:
            self._trial, self.posterior = header.trial, self.policy.prior()
            self._rewards, self._context = {}, []
        if header.number != self._number:
            self.base = self._refined()
            self._number, self.posterior, self._rewards = header.number, self.base, {}
            self._waiting, self._seen = None, []
        first = len(self._seen)
        self._seen += self._complete(news)
        if header.mode is Mode.PRIOR:
            return self._labelled(header, first)
        if header.mode is Mode.ADAPT and news.rewards is not None:
            return self._weighed(news.rewards)
        return []

    def predicted(self, steps: Sequence[Step]) -> list[float]:
        """The reward that each step earns by the decoder, in the task that its own z means.

        Raises `PolicyError`.
        """
        return [
            self.policy.decode(np.array(s.observation), np.array(s.applied), np.array(s.z))
            for s in steps
        ]

    def _refined(self) -> Posterior:
        """What is believed once an episode has ended."""
        if not self._rewards:
            return self.posterior
        context = [*self._context]
        for step, reward in sorted(self._rewards.items()):
            if step < len(self._seen) and len(context) <= MOST:
                observation, action, following = self._seen[step]
                context.append((observation, action, reward, following))
        found = self.policy.refined(self.posterior, context)
        self._context = context
        return found

    def _complete(self, news: News) -> list[Transition]:
        found = []
        for step in news.steps:
            if self._waiting is not None:
                found.append(_transition(self._waiting, step.observation))
            self._waiting = step
        footer = news.entry.footer
        if news.ended and footer is not None and footer.final_observation and self._waiting:
            found.append(_transition(self._waiting, footer.final_observation))
            self._waiting = None
        return found

    def _labelled(self, header: EpisodeHeader, first: int) -> list[Believed]:
        policy, task = self.policy, header.label_task
        if task is None or not 0 <= task < len(policy.task_embeddings):
            return []
        z, threshold = policy.task_embeddings[task], label_threshold(header.seed, header.number)
        found, labels = [], dict(self._rewards)
        for step in range(first, len(self._seen)):
            observation, action, following = self._seen[step]
            label = policy.decode(observation, action, z)
            if policy.manifest.sparse_reward:
                label = 0.0 if label + 1.0 > threshold else -1.0
            self.posterior = policy.update(self.posterior, observation, action, label, following)
            labels[step] = label
            found.append(Believed(step, self.posterior, label))
        self._rewards = labels
        return found

    def _weighed(self, rewards: Mapping[int, float]) -> list[Believed]:
        evidence = Evidence(self.policy, self.base)
        for transition in self._seen:
            evidence.add(transition)
        found, known = [], {}
        for step in sorted(rewards):
            known[step] = rewards[step]
            evidence.heed(known)
            if step < evidence.transitions:
                found.append(Believed(step, evidence.posterior, None))
        self.posterior, self._rewards = evidence.posterior, dict(rewards)
        return found


def _transition(step: Step, following: Sequence[float]) -> Transition:
    return np.array(step.observation), np.array(step.applied), np.array(following)
