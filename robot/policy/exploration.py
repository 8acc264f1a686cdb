"""The exploration schedule: whose z each episode follows, decided by a logged seed alone.

Holds the trial (prior episodes, then posterior ones) and what its context says. It must not know
drivers, graphs or time: it is told the posterior, and says which z to act with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import ExplorationConfig, ZHold
from fieldtune.robot.episodes.episode import Mode
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.policy.refinement import Rewarded

Array = NDArray[np.float64]

# Streams of an episode's randomness, apart from its z: never 0, which numpy takes for no entry.
_NOISE, _START, _LABEL, _THRESHOLD = 1, 2, 3, 4


class Draws:
    """All randomness of one episode, reproducible from the seed and number in its header."""

    def __init__(self, seed: int, number: int) -> None:
        self.z = np.random.default_rng([seed, number])
        self.noise = np.random.default_rng([seed, number, _NOISE])
        self.start_seed = int(np.random.default_rng([seed, number, _START]).integers(2**31))


def label_threshold(seed: int, number: int) -> float:
    """`Plan.label_threshold` of an episode, from the seed and number in its header."""
    return float(np.random.default_rng([seed, number, _THRESHOLD]).random())


@dataclass(frozen=True)
class Plan:
    """One episode to run. `trial` is the number of the trial's first episode.

    `label_z` is the task embedding that labels the trial's context, `label_task` its index; where
    rewards are −1 or 0, a step is labelled success when that is likelier than `label_threshold`.
    """

    number: int
    trial: int
    mode: Mode
    seed: int
    label_task: int
    label_z: Array
    label_threshold: float


class NextZ(Protocol):
    """Where each step of an episode takes its z from."""

    def next(self) -> Array:
        """The z of the next step, `(latent,)`. Never waits while the robot's time goes on."""
        ...


class ZSource:
    """z for each step: drawn from `posterior` as it was when the episode began, or, in an episode
    that `counts`, what that decides on."""

    def __init__(
        self,
        posterior: Posterior,
        hold: ZHold | int,
        rng: np.random.Generator,
        *,
        counts: bool = False,
    ) -> None:
        self._draw = posterior.decide if counts else posterior.sample
        self._steps = 1 if hold is ZHold.STEP else 0 if hold is ZHold.EPISODE else hold
        self._rng = rng
        self._held: Array | None = None
        self._step = 0

    def next(self) -> Array:
        """The z of the next step, `(latent,)`."""
        if self._held is None or (self._steps and self._step % self._steps == 0):
            self._held = self._draw(self._rng)
        self._step += 1
        return self._held


class Exploration:
    """The trial in progress.

    A trial is `prior_episodes` episodes with z from the prior, whose transitions make up the
    context, and `posterior_episodes` episodes with z from what that says. Then a new one starts.

    Args:
        settings: how many episodes, and how long z is held.
        seed: of all draws.
        task_embeddings: `(task, latent)`; one labels each trial.
        prior: what a trial begins with.
    """

    def __init__(
        self, settings: ExplorationConfig, seed: int, task_embeddings: Array, prior: Posterior
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._embeddings, self._prior = task_embeddings, prior
        self._finished = 0
        self._trial = 0
        self._label_task = 0
        self.posterior = prior
        self.context: list[Rewarded] = []  # of the trial, as it was labelled

    def restart(self, task_embeddings: Array, prior: Posterior) -> None:
        """Give up the trial in progress: a new bundle reads the old context differently."""
        self._embeddings, self._prior = task_embeddings, prior
        self._finished = 0

    def plan(self, number: int) -> Plan:
        """What the episode with this number is. Asking again before `finish` changes nothing."""
        if self._finished == 0:
            picks = np.random.default_rng([self._seed, number, _LABEL])
            self._trial = number
            self._label_task = int(picks.integers(len(self._embeddings)))
            self.posterior = self._prior
            self.context.clear()
        mode = Mode.PRIOR if self._finished < self._settings.prior_episodes else Mode.POSTERIOR
        label_z = self._embeddings[self._label_task]
        threshold = label_threshold(self._seed, number)
        return Plan(number, self._trial, mode, self._seed, self._label_task, label_z, threshold)

    def z_source(self, plan: Plan, rng: np.random.Generator) -> ZSource:
        """Where the planned episode takes its z from."""
        known = self.posterior if plan.mode is Mode.POSTERIOR else self._prior
        return ZSource(known, self._settings.z_hold, rng)

    def learn(self, posterior: Posterior) -> None:
        """The trial's context has grown: this is what it says now."""
        self.posterior = posterior

    def finish(self) -> None:
        """The planned episode has ended."""
        total = self._settings.prior_episodes + self._settings.posterior_episodes
        self._finished = (self._finished + 1) % total
