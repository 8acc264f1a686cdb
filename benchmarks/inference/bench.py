"""An agent, tasks kept back from its training, and simulated robots to try inferences on.

The protocol is that of `fieldtune.train.evaluation.protocol.Evaluator`, number by number, with what
explores and what is acted by told apart. Knows nothing of how z is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.inference.tables import RETURN, SUCCESS
from fieldtune.sim.family import Array
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.sim.success import succeeded
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor, HeedingActor, act_by
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.algorithm import SelfSupervised
from fieldtune.train.config import RunConfig
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.data.replay import Batch, Replay
from fieldtune.train.evaluation.protocol import Acted, Evaluator
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run

NUMBERS = (1, 2, 4)  # episodes of own exploration before the one that counts

Floats = NDArray[np.float64]
Episode = list[Batch]
"""One episode of every copy, `(1, transition, ...)` each, in training units."""


@dataclass(frozen=True)
class Bench:
    """What is tried on.

    Attributes:
        run: with the tasks kept back in the place of its held-out ones.
        algorithm: after phase 1.
        particles: as the library draws them.
        offline: the data trained on; `kept_back`: that of the tasks kept back.
        evaluator: of the tasks to act in.
    """

    run: Run
    algorithm: SelfSupervised
    particles: Particles
    offline: Replay
    kept_back: Replay
    evaluator: Evaluator

    @classmethod
    def of(cls, run: Run) -> Bench:
        """With phase 1 trained, or gone on with, in the run's folder."""
        algorithm = require_self_supervised(run, train_offline(run))
        offline = offline_replay(run, algorithm)
        horizon, seed = run.family.horizon, run.config.seed
        particles = offline_particles(algorithm.agent, offline, horizon, seed)
        evaluator = _evaluator(run, run.dataset.test_tasks)
        kept = held_out_replay(run, algorithm)
        return cls(run, algorithm, particles, offline, kept, evaluator)

    def on(self, tasks: Array) -> Bench:
        """The same acting in other tasks, `(task, parameter)`."""
        return replace(self, evaluator=_evaluator(self.run, tasks))

    @property
    def agent(self) -> Agent:
        return self.algorithm.agent

    @property
    def seed(self) -> int:
        return self.run.config.seed

    @property
    def copies(self) -> int:
        return len(self.evaluator.tasks)

    @property
    def measure(self) -> str:
        return SUCCESS if self.run.family.sparse_reward else RETURN

    @cached_property
    def exploring(self) -> Acting:
        """z held for an episode, with the noise of the run's robot."""
        return replace(self.evaluator.exploring, z_hold="episode", follows_rewards=False)

    def episode(self, z: Tensor, rng: np.random.Generator) -> Episode:
        """Explore by z, `(copy, latent)`, or by several one after another,
        `(part, copy, latent)`."""
        held = Held(self.agent, z, self.exploring, self.run.family.horizon)
        return [context_of(self.agent, [one]) for one in self._run(held, rng)]

    def act(self, z: Tensor, number: int) -> Floats:
        """What an episode by z `(copy, latent)` gives, `(task, repeat)`, with the mean action.

        Args:
            number: of the episodes seen before it, which decides its start states.
        """
        with own_randomness(self.seed, number) as rng:
            held = Held(self.agent, z, MEAN_ACTION, self.run.family.horizon)
            return self._worth(self._run(held, rng))

    def first(self, actor: Callable[[], HeedingActor]) -> Floats:
        """What a first episode gives, `(task, repeat)`, that follows its rewards."""
        with own_randomness(self.seed, 0) as rng:
            return self._worth(self._run(actor(), rng))

    def followed(self, actor: HeedingActor, rng: np.random.Generator) -> Episode:
        """Explore by an actor that follows its rewards."""
        return [context_of(self.agent, [one]) for one in self._run(actor, rng)]

    def measured(self, acted: Sequence[Acted]) -> list[Floats]:
        """What the library's protocol gave, `(task, repeat)` each, in this bench's measure."""
        if self.run.family.sparse_reward:
            return [100.0 * each.successes for each in acted if each.successes is not None]
        return [each.returns for each in acted]

    def _run(self, actor: Actor, rng: np.random.Generator) -> list[LabelledEpisode]:
        seeds = rng.integers(2**31, size=self.copies)
        family, simulator = self.run.family, self.evaluator.simulator
        heed = actor.heed if isinstance(actor, HeedingActor) else None
        return run_episodes(actor, family, simulator, seeds, self.evaluator.tasks, heed)

    def _worth(self, episodes: list[LabelledEpisode]) -> Floats:
        if self.run.family.sparse_reward:
            found = np.array([100.0 * succeeded(self.run.family, one) for one in episodes])
        else:
            found = np.array([one.rewards.sum() for one in episodes])
        return found.reshape(self.evaluator.n_tasks, -1)


class Held:
    """π(a|s,z) with one z a copy for the whole episode, or for equal parts of it."""

    def __init__(self, agent: Agent, z: Tensor, acting: Acting, horizon: int) -> None:
        self._agent, self._acting = agent, acting
        self._z = z if z.dim() == 3 else z.unsqueeze(0)
        self._part, self._step = horizon / len(self._z), 0

    @property
    def embeddings(self) -> Floats:
        return self._z[-1].double().numpy()

    def begin(self, rng: Generator | None) -> None:  # noqa: ARG002
        """Nothing is drawn."""
        self._step = 0

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        agent, z = self._agent, self._z[int(self._step / self._part)]
        self._step += 1
        return act_by(agent.policy, agent.normalisation, s, z, self._acting, rng)


def open_kept_back(config: RunConfig, folder: Path, count: int) -> Run:
    """A run in `folder` that holds the last `count` of its training tasks out, and knows of no
    others: the family's own held-out tasks are left where they are."""
    run = open_run(config, folder, option="FOLDER")
    return replace(run, dataset=kept_back(run.dataset, count))


def kept_back(dataset: Dataset, count: int) -> Dataset:
    """The last `count` training tasks in the place of the held-out ones.

    Raises:
        ValueError: that leaves none, or keeps none.
    """
    known = len(dataset.train)
    if not 0 < count < known:
        raise ValueError(f"--kept-back {count}: {dataset.id} has {known} tasks; keep some of them")
    return replace(
        dataset,
        train_tasks=dataset.train_tasks[:-count],
        test_tasks=dataset.train_tasks[-count:],
        train=dataset.train[:-count],
        test=dataset.train[-count:],
    )


@contextmanager
def own_randomness(seed: int, *part: int) -> Iterator[np.random.Generator]:
    """The protocol's draws of this seed and part; the random state around them stays as it was."""
    with torch.random.fork_rng():
        drawn = int(np.random.SeedSequence([seed, *part]).generate_state(1)[0]) if part else seed
        torch.manual_seed(drawn)
        yield np.random.default_rng(drawn)


def _evaluator(run: Run, tasks: Array) -> Evaluator:
    last = {"context_episodes": max(NUMBERS)}
    config = run.config.model_copy(
        update={"evaluation": run.config.evaluation.model_copy(update=last)}
    )
    return Evaluator.of(config, run.family, tasks)
