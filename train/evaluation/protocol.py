"""The meta-test protocol: adaptation from one's own exploration, and from offline data.

The reported return is that of the episode after K exploration episodes with real rewards, mean
action, z sampled from the posterior where there is one (Pong et al. 2022, sec. 5). Only these
functions produce returns that are reported, so that every method is measured alike.
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
from fieldtune.sim.success import succeeded
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor, Adaptive, HeedingActor
from fieldtune.train.agent.likelihood import ByLikelihood, ParticleActor
from fieldtune.train.agent.trials import adapt_to, explore, run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.config import Evaluation, RunConfig
from fieldtune.train.data.replay import Replay

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OnlineResult:
    """Adaptation from self-collected contexts.

    `curve[k]` holds the returns after k context episodes, `(K+1, task, repeat)`, or those after K
    alone; `embeddings` what the actor knows after K, `(task, repeat, latent)`. `successes`, as
    `curve`, are 1 or 0; None where the family has no success.
    """

    curve: Floats
    embeddings: Floats
    successes: Floats | None

    @property
    def mean_return(self) -> float:
        return float(self.curve[-1].mean())


@dataclass(frozen=True)
class OfflineResult:
    """Adaptation from offline contexts: `returns` and `successes` `(task, repeat)`, the rest as
    online."""

    returns: Floats
    embeddings: Floats
    successes: Floats | None

    @property
    def mean_return(self) -> float:
        return float(self.returns.mean())


class Evaluator:
    """Owns one batch of simulated robots, a copy for each (task, repeat), and reuses it."""

    def __init__(
        self,
        family: TaskFamily,
        tasks: Array,
        settings: Evaluation,
        exploring: Acting,
    ) -> None:
        self.family, self.settings, self.exploring = family, settings, exploring
        self.n_tasks = len(tasks)
        self.tasks = np.repeat(tasks, settings.repeats, axis=0)
        self.simulator = family.simulator(len(self.tasks))

    @classmethod
    def of(cls, config: RunConfig, family: TaskFamily, tasks: Array) -> Evaluator:
        """By the protocol of a run, exploring as its robot does.

        Args:
            config: the run's; its sections `evaluation` and `robot.exploration` are read.
            family: what to simulate.
            tasks: `(task, parameter)`, those to measure on.
        """
        exploring = Acting.like_the_robot(config.robot.exploration)
        return cls(family, tasks, config.evaluation, exploring)

    def online(self, adaptive: Adaptive, seed: int, *, curve: bool = True) -> OnlineResult:
        """Adaptation from own exploration with true rewards, of 0 to K context episodes.

        Args:
            adaptive: what explores and adapts.
            seed: everything that is drawn depends on it alone.
            curve: whether to measure after each number of episodes; otherwise after K alone.
        """
        if isinstance(adaptive, ByLikelihood):
            return self._by_posterior_sampling(adaptive, seed, curve)
        episodes = self.settings.context_episodes
        found = []
        with _own_randomness(seed) as rng:
            trials = explore(
                adaptive,
                self.family,
                self.simulator,
                self.tasks,
                rng,
                prior_episodes=episodes,
                posterior_episodes=0,
                acting=self.exploring,
            )
            for k in range(0 if curve else episodes, episodes + 1):
                actor = adapt_to(adaptive, [trial[:k] for trial in trials])
                found.append(self._act(actor, rng))
        return _adaptation(found)

    def _by_posterior_sampling(
        self, inference: ByLikelihood, seed: int, curve: bool
    ) -> OnlineResult:
        """Each exploration episode follows one particle, drawn by what those before it said."""
        episodes = self.settings.context_episodes
        exploring = replace(self.exploring, z_hold="episode")
        found = []
        with _own_randomness(seed) as rng:
            actor = self._knowing_nothing(inference, exploring)
            for k in range(episodes + 1):
                if curve or k == episodes:
                    found.append(self._act(actor.acting_as(MEAN_ACTION), rng))
                if k < episodes:
                    seen = [context_of(inference, [one]) for one in self._episodes(actor, rng)]
                    actor = actor.after(seen)
        return _adaptation(found)

    def _knowing_nothing(self, inference: ByLikelihood, acting: Acting) -> ParticleActor:
        return inference.adapt([context_of(inference, []) for _ in self.tasks], acting)

    def offline(self, adaptive: Adaptive, data: Replay, seed: int) -> OfflineResult:
        """Adaptation from offline data: as many transitions as K episodes have, from all of it.

        Args:
            adaptive: what adapts.
            data: of the evaluator's tasks in their order, in the training units of `adaptive`.
            seed: everything that is drawn depends on it alone.
        """
        length = self.settings.context_episodes * self.family.horizon
        tasks = [task for task in range(self.n_tasks) for _ in range(self.settings.repeats)]
        with _own_randomness(seed) as rng, torch.no_grad():
            context = data.context(rng, tasks, length, trajectories=None)
            return self._act(adaptive.adapt([context]), rng)

    def first_episode(self, adaptive: Adaptive, seed: int) -> OfflineResult:
        """Adaptation within the first episode: what is known of the task follows the true rewards
        at every step. Raises `TypeError` where an actor does not heed them."""
        with _own_randomness(seed) as rng:
            actor = adaptive.adapt([context_of(adaptive, []) for _ in self.tasks])
            if not isinstance(actor, HeedingActor):
                raise TypeError(f"{type(actor).__name__} does not adapt within an episode")
            return self._act(actor, rng, actor.heed)

    def _episodes(
        self, actor: Actor, rng: np.random.Generator, heed: Heed | None = None
    ) -> list[LabelledEpisode]:
        seeds = rng.integers(2**31, size=len(self.tasks))
        return run_episodes(actor, self.family, self.simulator, seeds, self.tasks, heed)

    def _act(
        self, actor: Actor, rng: np.random.Generator, heed: Heed | None = None
    ) -> OfflineResult:
        episodes = self._episodes(actor, rng, heed)
        shape = (self.n_tasks, self.settings.repeats)
        done = np.array([succeeded(episode) for episode in episodes], dtype=np.float64)
        return OfflineResult(
            returns=np.array([episode.rewards.sum() for episode in episodes]).reshape(shape),
            embeddings=actor.embeddings.reshape(*shape, -1),
            successes=done.reshape(shape) if self.family.sparse_reward else None,
        )

    def close(self) -> None:
        self.simulator.close()


def _adaptation(found: list[OfflineResult]) -> OnlineResult:
    """Of what was measured by number of context episodes."""
    successes = [each.successes for each in found if each.successes is not None]
    return OnlineResult(
        curve=np.stack([each.returns for each in found]),
        embeddings=found[-1].embeddings,
        successes=np.stack(successes) if successes else None,
    )


@contextmanager
def _own_randomness(seed: int) -> Iterator[np.random.Generator]:
    """Draws that depend on `seed` alone and leave the training's random state where it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield np.random.default_rng(seed)
