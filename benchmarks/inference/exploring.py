"""Ablation of what explores; the likeliest of the library's particles acts after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.inference.beliefs import (
    Belief,
    Explorer,
    Following,
    believed,
    explore,
    judged,
)
from benchmarks.inference.bench import NUMBERS, Bench, Episode, own_randomness
from benchmarks.inference.tables import Row, Table
from fieldtune.train.agent.actor import Acting
from fieldtune.train.runs.particles import CONTEXT

CANDIDATES = 16  # drawn by weight, of which one is asked with
PARTS = 4  # of an episode, each by another particle
HELD = 10  # steps that a draw is held, where rewards count at once
ROWS = 64  # transitions of each training task that questions are made of


def exploring(bench: Bench) -> Table:
    """Posterior sampling against draws that nothing was learned for, and against asking."""
    start = Belief.of(bench, bench.particles)
    z = bench.particles.z

    def uniform() -> Tensor:
        return z[torch.randint(len(z), (bench.copies,))]

    def prior() -> Tensor:
        return torch.randn(bench.copies, z.shape[1])

    explorers: dict[str, Explorer] = {
        "posterior sampling (default)": start,
        "any particle": Blind(uniform),
        "N(0, I), held for an episode": Blind(prior),
        f"posterior sampling, {PARTS} draws an episode": Changing(start),
        f"asking, of {CANDIDATES} drawn by weight": Asking(start, Questions.of(bench)),
    }
    explored = {name: explore(bench, explorer)[0] for name, explorer in explorers.items()}
    turning = f"posterior sampling, drawn by all it was paid so far every {HELD} steps"
    explored[turning] = _turning(bench, start, replace(bench.exploring, z_hold=HELD))
    following = "a draw, then the likeliest by all it was paid so far (follow_rewards)"
    explored[following] = _turning(bench, start, replace(bench.exploring, follows_rewards=True))
    rows = []
    for name, episodes in explored.items():
        after = believed(start, episodes)
        facts = {"particles that count, K = 1": after[0].effective}
        rows.append(Row.of(name, judged(bench, after), facts))
    return Table("What explores", bench.measure, rows)


def _turning(bench: Bench, belief: Belief, acting: Acting) -> list[Episode]:
    """z changes within the episode too: what it is paid counts at once."""
    found: list[Episode] = []
    with own_randomness(bench.seed) as rng:
        for _ in range(max(NUMBERS)):
            actor = Following(bench.agent, belief, acting)
            found.append(bench.followed(actor, rng))
            belief = actor.belief
    return found


@dataclass(frozen=True)
class Blind:
    """Draws z whatever was seen."""

    draw: Callable[[], Tensor]

    def after(self, episode: Episode) -> Blind:  # noqa: ARG002
        return self

    def choose(self) -> Tensor:
        return self.draw()


@dataclass(frozen=True)
class Changing:
    """Posterior sampling that draws several times within an episode, by what was known before it:
    one place alone may leave two tasks apart from each other unseen."""

    belief: Belief

    def after(self, episode: Episode) -> Changing:
        return Changing(self.belief.after(episode))

    def choose(self) -> Tensor:
        return torch.stack([self.belief.choose() for _ in range(PARTS)])


@dataclass(frozen=True)
class Questions:
    """What each particle's decoder says of the rewards where the training tasks' data went.

    Attributes:
        rewards: `(task, transition, particle)`; probabilities of success where sparse.
        nearest: the training task nearest to each particle, `(particle,)`: by its z the policy goes
            about where that task's data went.
    """

    rewards: Tensor
    nearest: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bench: Bench) -> Questions:
        """By the bench's particles."""
        rng, tasks = np.random.default_rng(bench.seed), bench.offline.tasks_with_data
        agent, z = bench.agent, bench.particles.z
        means = agent.infer(bench.offline.context(rng, tasks, CONTEXT, None))[0]
        rows = bench.offline.transitions(rng, tasks, ROWS)
        said = partial(_said, bench, z)
        rewards = [said(s, a) for s, a in zip(rows.observation, rows.action, strict=True)]
        return cls(torch.stack(rewards), torch.cdist(z, means).argmin(dim=1))

    def told(self, weights: Tensor) -> Tensor:
        """The variance of the rewards between particles, mean over transitions.

        Args:
            weights: of the particles, `(copy, particle)`.

        Returns:
            `(copy, task)`.
        """
        mean = self.rewards @ weights.T
        square = self.rewards.square() @ weights.T
        return (square - mean.square()).mean(dim=1).T


def _said(bench: Bench, z: Tensor, observation: Tensor, action: Tensor) -> Tensor:
    """`(transition, particle)` of `(transition, ...)`."""
    shape = (len(observation), len(z))
    found = bench.agent.decoder(
        observation.unsqueeze(1).expand(*shape, -1),
        action.unsqueeze(1).expand(*shape, -1),
        z.expand(*shape, -1),
    ).squeeze(-1)
    return torch.sigmoid(found) if bench.agent.shape.sparse_reward else found


@dataclass(frozen=True)
class Asking:
    """Explores by that of a few particles, drawn by weight, whose task's data would tell the
    particles apart most."""

    belief: Belief
    questions: Questions

    def after(self, episode: Episode) -> Asking:
        return replace(self, belief=self.belief.after(episode))

    def choose(self) -> Tensor:
        weights = self.belief.weights
        drawn = torch.multinomial(weights, CANDIDATES, replacement=True)
        worth = self.questions.told(weights).gather(1, self.questions.nearest[drawn])
        best = drawn.gather(1, worth.argmax(dim=1, keepdim=True)).squeeze(1)
        return self.belief.z[best]
