"""What is believed of z after some episodes: weights over particles, and z's that follow from them.

Of particles alone, without the places that the library adds between them after each episode.
Knows a bench's protocol and likelihoods of particles; `refined` and `exploring` build on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.inference.bench import NUMBERS, Bench, Episode, Floats, own_randomness
from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, act_by, rewarded_step
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles, log_likelihood
from fieldtune.train.data.replay import Batch

LogLikelihood = Callable[[Batch], Tensor]
"""Of contexts `(task, transition, ...)`: log p(h | z_i), `(task, particle)`."""

Pick = Literal["likeliest", "mean"]


class Guess(Protocol):
    """Says which z to act by after what was seen."""

    def after(self, episode: Episode) -> Self: ...

    def guess(self) -> Tensor:
        """`(copy, latent)`."""
        ...


class Explorer(Protocol):
    """Says which z to explore by."""

    def after(self, episode: Episode) -> Self: ...

    def choose(self) -> Tensor:
        """`(copy, latent)` for the next episode, drawn from torch's global random state; or
        `(part, copy, latent)` for equal parts of it."""
        ...


@dataclass(frozen=True)
class Belief:
    """Weights over particles, a row a copy: explores by posterior sampling.

    Attributes:
        z: `(particle, latent)`.
        likelihood: what weighs them.
        known: log-likelihoods of what was seen, `(copy, particle)`.
        pick: what is acted by.
    """

    z: Tensor
    likelihood: LogLikelihood
    known: Tensor
    pick: Pick = "likeliest"

    @classmethod
    def of(
        cls,
        bench: Bench,
        particles: Particles,
        *,
        agent: Agent | None = None,
        pick: Pick = "likeliest",
    ) -> Belief:
        """Before anything was seen, weighed as the library does.

        Args:
            bench: how many copies.
            particles: of z.
            agent: whose decoder weighs; the bench's where not given.
            pick: what is acted by.
        """
        likelihood = partial(log_likelihood, agent or bench.agent, particles)
        return cls(particles.z, likelihood, torch.zeros(bench.copies, len(particles.z)), pick)

    def after(self, episode: Episode) -> Belief:
        return replace(
            self, known=self.known + torch.cat([self.likelihood(one) for one in episode])
        )

    def after_step(self, step: Batch) -> Belief:
        """Of all copies, `(copy, 1, ...)`."""
        return replace(self, known=self.known + self.likelihood(step))

    @property
    def weights(self) -> Tensor:
        """`(copy, particle)`."""
        return torch.softmax(self.known, dim=1)

    @property
    def effective(self) -> float:
        """1 / Σ wᵢ², the median over copies."""
        return float((1.0 / self.weights.square().sum(dim=1)).median())

    def choose(self) -> Tensor:
        return self.z[torch.multinomial(self.weights, 1).squeeze(1)]

    def guess(self) -> Tensor:
        if self.pick == "mean":
            return self.weights @ self.z
        return self.z[self.known.argmax(dim=1)]


class Following:
    """Acts within an episode by what its rewards say, chosen anew at each step.

    Implements `fieldtune.train.agent.actor.HeedingActor`.

    Args:
        agent: whose policy acts.
        belief: before the episode.
        exploring: with which noise it explores, by another draw every so many steps or, where it
            follows rewards, by the belief's guess after each; None where it acts by that guess.
    """

    def __init__(self, agent: Agent, belief: Belief, exploring: Acting | None = None) -> None:
        self._agent, self.belief = agent, belief
        self._exploring, self._step = exploring, 0
        self._held = belief.choose()

    @property
    def embeddings(self) -> NDArray[np.float64]:
        return self._held.double().numpy()

    def begin(self, rng: Generator | None) -> None:
        """z before any reward was drawn already."""

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        agent, acting = self._agent, self._exploring or MEAN_ACTION
        if acting.draws_at(self._step):
            self._held = self.belief.choose()
        self._step += 1
        return act_by(agent.policy, agent.normalisation, s, self._held, acting, rng)

    @torch.no_grad()
    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        constants, device = self._agent.normalisation, self._held.device
        step = rewarded_step(constants, s, a, r, reached, device)
        self.belief = self.belief.after_step(step)
        if self._exploring is None or self._exploring.follows_rewards:
            self._held = self.belief.guess()


E = TypeVar("E", bound=Explorer)
G = TypeVar("G", bound=Guess)


def explore(bench: Bench, explorer: E) -> tuple[list[Episode], list[E]]:
    """As many episodes as are judged after, and what the explorer is after each."""
    found: list[Episode] = []
    after: list[E] = []
    with own_randomness(bench.seed) as rng:
        for _ in range(max(NUMBERS)):
            found.append(bench.episode(explorer.choose(), rng))
            explorer = explorer.after(found[-1])
            after.append(explorer)
    return found, after


def believed(start: G, episodes: Sequence[Episode]) -> list[G]:
    """What is guessed by after each of the same episodes."""
    return list(accumulate(episodes, _after, initial=start))[1:]


def _after(known: G, episode: Episode) -> G:
    return known.after(episode)


def judged(bench: Bench, after: Sequence[Guess]) -> dict[str, Floats]:
    """What acting gives, `(task, repeat)`, by number of episodes seen.

    Args:
        bench: where.
        after: the guesses after one episode, after two, ….
    """
    with own_randomness(bench.seed, max(NUMBERS) + 1):  # of guesses that draw
        guesses = {number: after[number - 1].guess() for number in NUMBERS}
    return {f"K = {number}": bench.act(z, number) for number, z in guesses.items()}


def first(bench: Bench, belief: Belief) -> dict[str, Floats]:
    """What the first episode gives that follows its rewards."""
    return {"first episode": bench.first(lambda: Following(bench.agent, belief))}
