"""The meta-test protocol: adaptation from one's own exploration, and from offline data.

A reported return is that of the episode after K exploration episodes with real rewards, mean
action, z sampled from the posterior where there is one (Pong et al. 2022, sec. 5); or of the first
episode of all, where what is inferred follows every step. Only these functions produce returns that
are reported, so that every method is measured alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import Heed, LabelledEpisode
from fieldtune.sim.success import has_success, succeeded
from fieldtune.train.agent.actor import (
    MEAN_ACTION,
    Acting,
    Actor,
    Adaptive,
    HeedingActor,
    always_heeds,
)
from fieldtune.train.agent.by_likelihood import ParticleActor
from fieldtune.train.agent.trials import adapt_to, run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.algorithm import whole_episodes
from fieldtune.train.config import Evaluation, RunConfig
from fieldtune.train.cores import workers
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import random_state_kept

Floats = NDArray[np.float64]

QUOTED = 2  # episodes: the context that tables quote, and how long an offline context is


@dataclass(frozen=True)
class Acted:
    """One reported episode of every (task, repeat).

    Attributes:
        returns: `(task, repeat)`.
        successes: 1 or 0 likewise; None where the family has no success.
        embeddings: what the actor knew when it ended, `(task, repeat, latent)`.
        rewards: mean by step, `(step,)`; an episode that is over has none.
        effective_particles, unlike: means over all of what inference by likelihood says of its
            contexts; None of another.
    """

    returns: Floats
    successes: Floats | None
    embeddings: Floats
    rewards: Floats
    effective_particles: float | None = None
    unlike: float | None = None

    @property
    def mean_return(self) -> float:
        return float(self.returns.mean())


@dataclass(frozen=True)
class OnlineResult:
    """Adaptation from self-collected contexts: `acted[k]` after k of them, or one number alone.
    `swapped` is as `quoted`, in each task by what was explored in another; None where one number
    was asked for, or there is one task."""

    acted: list[Acted]
    swapped: Acted | None = None

    @property
    def curve(self) -> Floats:
        """Returns, `(number, task, repeat)`."""
        return np.stack([each.returns for each in self.acted])

    @property
    def successes(self) -> Floats | None:
        """Likewise; None where the family has no success."""
        known = [each.successes for each in self.acted if each.successes is not None]
        return np.stack(known) if known else None

    @property
    def quoted(self) -> Acted:
        return self.acted[min(QUOTED, len(self.acted) - 1)]


class Evaluator:
    """Owns one batch of simulated robots, a copy for each (task, repeat), and reuses it."""

    def __init__(
        self,
        family: TaskFamily,
        tasks: Array,
        settings: Evaluation,
        exploring: Acting,
        threads: int = 1,
    ) -> None:
        self.family, self.settings, self.exploring = family, settings, exploring
        self.n_tasks = len(tasks)
        self.tasks = np.repeat(tasks, settings.repeats, axis=0)
        self.simulator = family.simulator(len(self.tasks), threads)

    @classmethod
    def of(cls, config: RunConfig, family: TaskFamily, tasks: Array) -> Evaluator:
        """By the protocol of a run, exploring as its robot does, or with `evaluation.action_noise`.

        Args:
            config: the run's; its sections `evaluation` and `robot.exploration` are read.
            family: what to simulate.
            tasks: `(task, parameter)`, those to measure on.
        """
        exploring = Acting.with_rewards(config.robot.exploration)
        noise = config.evaluation.action_noise
        if noise is not None:
            exploring = replace(exploring, noise=noise)
        return cls(family, tasks, config.evaluation, exploring, workers(config.workers))

    @property
    def quoted(self) -> int:
        """The number of context episodes that tables quote."""
        return min(QUOTED, self.settings.context_episodes)

    def online(self, adaptive: Adaptive, seed: int, *, only: int | None = None) -> OnlineResult:
        """Adaptation from own exploration with true rewards, of 0 to K context episodes.

        An encoder explores with z from its prior; by likelihood each episode begins with one
        particle, drawn by what those before it said. It keeps that, draws others on the way where
        `z_hold` is a number of steps, or goes on with the likeliest by its rewards so far
        (`robot.exploration.follow_rewards`). What adapts within every episode explores by all that
        it has seen.

        Args:
            adaptive: what explores and adapts.
            seed: everything that is drawn depends on it alone, and nothing on where a curve ends.
            only: measure after this many episodes alone: what a whole curve has there.
        """
        last = self.settings.context_episodes if only is None else only
        trials: list[list[LabelledEpisode]] = [[] for _ in self.tasks]
        found, swapped = [], None
        with _own_randomness(seed) as rng:
            exploring = self._knowing_nothing(adaptive)
            for k in range(last + 1):
                if only in (None, k):
                    if isinstance(exploring, ParticleActor):
                        actor: Actor = exploring.acting_as(MEAN_ACTION)
                    else:
                        actor = adapt_to(adaptive, trials)
                    with _own_randomness(seed, k) as own:
                        found.append(self._act(actor, own))
                    if only is None and k == self.quoted and self.n_tasks > 1:
                        with _own_randomness(seed, k) as own:  # the same start states, to compare
                            swapped = self._act(self._swapped(adaptive, actor, trials), own)
                if k == last:
                    break
                followed = exploring
                if isinstance(exploring, ParticleActor):  # which may heed: it learns below, at once
                    followed = exploring.acting_as(exploring.acting)
                episodes = self._episodes(followed, rng)
                for trial, episode in zip(trials, episodes, strict=True):
                    trial.append(episode)
                if isinstance(exploring, ParticleActor):
                    exploring = exploring.after([context_of(adaptive, [one]) for one in episodes])
                elif always_heeds(exploring):
                    exploring = adapt_to(adaptive, trials, self.exploring)
        return OnlineResult(found, swapped)

    def offline(self, adaptive: Adaptive, data: Replay, seed: int) -> Acted:
        """Adaptation from offline data: as many transitions as two episodes have, from all of it;
        two whole ones, in their order, for what learns from whole episodes.

        Args:
            adaptive: what adapts.
            data: of the evaluator's tasks in their order, in the training units of `adaptive`.
            seed: everything that is drawn depends on it alone.
        """
        length = QUOTED * self.family.horizon
        tasks = [task for task in range(self.n_tasks) for _ in range(self.settings.repeats)]
        with _own_randomness(seed) as rng, torch.no_grad():
            if whole_episodes(adaptive) is None:
                context = data.context(rng, tasks, length, trajectories=None)
            else:
                context = data.episodes(rng, tasks, QUOTED)
            return self._act(adaptive.adapt([context]), rng)

    def acted(self, actor: Actor, seed: int) -> Acted:
        """What acts without adapting, from the start states of `online`'s episode after none.

        Args:
            actor: acts in a copy for each (task, repeat), `tasks`.
            seed: everything that is drawn depends on it alone.
        """
        with _own_randomness(seed, 0) as rng:
            return self._act(actor, rng)

    def first_episode(self, adaptive: Adaptive, seed: int) -> Acted | None:
        """Adaptation within the first episode: what is known of the task follows the true rewards
        at every step. None where the actor does not adapt within an episode.

        From the start states of `online`'s episode after none.
        """
        with _own_randomness(seed, 0) as rng:
            actor = adapt_to(adaptive, [[] for _ in self.tasks])
            return self._act(actor, rng, actor.heed) if isinstance(actor, HeedingActor) else None

    def _swapped(
        self, adaptive: Adaptive, actor: Actor, trials: list[list[LabelledEpisode]]
    ) -> Actor:
        """As `actor`, which `trials` have told, but told in each task by another task's trial:
        another one in each repeat."""
        repeats, others = self.settings.repeats, self.n_tasks - 1
        order = [
            (task + 1 + repeat % others) % self.n_tasks * repeats + repeat
            for task in range(self.n_tasks)
            for repeat in range(repeats)
        ]
        if isinstance(actor, ParticleActor):
            return actor.swapped(order)
        return adapt_to(adaptive, [trials[copy] for copy in order])

    def _knowing_nothing(self, adaptive: Adaptive) -> Actor:
        actor = adapt_to(adaptive, [[] for _ in self.tasks], self.exploring)
        if isinstance(actor, ParticleActor) and self.exploring.z_hold == "step":
            return actor.acting_as(replace(self.exploring, z_hold="episode"))
        return actor

    def _episodes(
        self, actor: Actor, rng: np.random.Generator, heed: Heed | None = None
    ) -> list[LabelledEpisode]:
        seeds = rng.integers(2**31, size=len(self.tasks))
        return run_episodes(actor, self.family, self.simulator, seeds, self.tasks, heed)

    def _act(self, actor: Actor, rng: np.random.Generator, heed: Heed | None = None) -> Acted:
        shape = (self.n_tasks, self.settings.repeats)
        episodes = self._episodes(actor, rng, heed)
        particles, unlike = None, None
        if isinstance(actor, ParticleActor):
            particles, unlike = float(actor.effective_particles.mean()), float(actor.unlike.mean())
        rewards = np.zeros((len(episodes), self.family.horizon))
        for row, episode in zip(rewards, episodes, strict=True):
            row[: episode.steps] = episode.rewards
        done = np.array([succeeded(self.family, one) for one in episodes], dtype=np.float64)
        return Acted(
            returns=np.array([episode.rewards.sum() for episode in episodes]).reshape(shape),
            successes=done.reshape(shape) if has_success(self.family) else None,
            embeddings=actor.embeddings.reshape(*shape, -1),
            rewards=rewards.mean(axis=0),
            effective_particles=particles,
            unlike=unlike,
        )

    def close(self) -> None:
        self.simulator.close()


@contextmanager
def _own_randomness(seed: int, *part: int) -> Iterator[np.random.Generator]:
    """Draws that depend on these numbers alone and leave the random state around them as it was."""
    with random_state_kept():
        drawn = int(np.random.SeedSequence([seed, *part]).generate_state(1)[0]) if part else seed
        torch.manual_seed(drawn)
        yield np.random.default_rng(drawn)
