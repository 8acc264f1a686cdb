"""Ablation of acting by z's that no particle is: the library's places, others, or climbed to.

All judge the same episodes, explored by particles alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks.inference.beliefs import Belief, believed, explore, judged
from benchmarks.inference.bench import Bench, Episode
from benchmarks.inference.tables import Row, Table
from fieldtune.train.agent.by_likelihood import ByLikelihood, ParticleActor
from fieldtune.train.agent.likelihood import log_likelihood, of_transitions
from fieldtune.train.agent.units import context_of
from fieldtune.train.data.replay import Batch, concatenate

ROUNDS = (0.5, 0.25, 0.125)  # of resampling: the jitter, in the particles' own spread
RATE = 0.03  # of a gradient step


def refinement(bench: Bench) -> Table:
    """The library's places, three rounds of jitter, and gradient steps on the likelihood, after the
    same episodes."""
    start = Belief.of(bench, bench.particles)
    episodes, after = explore(bench, start)
    rows = [
        Row.of("likeliest particle", judged(bench, after)),
        Row.of(
            "likeliest place, of 200 new ones after each episode (default)",
            judged(bench, believed(Library.of(bench), episodes)),
        ),
    ]
    refiners: dict[str, Refine] = {
        "resampled, jittered three times": Jittered(bench),
        "10 gradient steps": Climbed(bench, 10),
        "100 gradient steps": Climbed(bench, 100),
    }
    for name, refine in refiners.items():
        guesses = believed(Refined(start, refine), episodes)
        rows.append(Row.of(name, judged(bench, guesses), guesses[0].moved()))
    return Table("Refinement from the likeliest particle", bench.measure, rows)


@dataclass(frozen=True)
class Library:
    """As `ByLikelihood` adapts."""

    actor: ParticleActor

    @classmethod
    def of(cls, bench: Bench) -> Library:
        """Before anything was seen."""
        by = ByLikelihood(bench.agent, bench.particles)
        return cls(by.adapt([context_of(by, [])] * bench.copies))

    def after(self, episode: Episode) -> Library:
        return Library(self.actor.after(episode))

    def guess(self) -> Tensor:
        return self.actor.z


class Refine(Protocol):
    def __call__(self, belief: Belief, contexts: Sequence[Batch]) -> Tensor:
        """z `(copy, latent)` from the belief and all that each copy has seen."""
        ...


@dataclass(frozen=True)
class Refined:
    """Acts by z's that no particle is.

    Attributes:
        belief: over the particles.
        refine: what finds them.
        seen: the episodes.
    """

    belief: Belief
    refine: Refine
    seen: tuple[Episode, ...] = ()

    def after(self, episode: Episode) -> Refined:
        return replace(self, belief=self.belief.after(episode), seen=(*self.seen, episode))

    def guess(self) -> Tensor:
        contexts = [concatenate(list(one)) for one in zip(*self.seen, strict=True)]
        return self.refine(self.belief, contexts)

    def moved(self) -> dict[str, float]:
        """How far from the likeliest particle, in mean distances between particles."""
        far = (self.guess() - self.belief.guess()).norm(dim=1).mean()
        return {"moved, of the particles' distance": float(far / torch.pdist(self.belief.z).mean())}


@dataclass(frozen=True)
class Jittered:
    """Draws from the weights, moved at random, less each round; the likeliest of all."""

    bench: Bench
    count: int = 200

    @torch.no_grad()
    def __call__(self, belief: Belief, contexts: Sequence[Batch]) -> Tensor:
        z, known = belief.z.expand(len(contexts), *belief.z.shape), belief.known
        spread = torch.linalg.cholesky(torch.cov(belief.z.T) + 1e-6 * torch.eye(z.shape[2]))
        for scale in ROUNDS:
            drawn = torch.multinomial(torch.softmax(known, dim=1), self.count, replacement=True)
            there = z.gather(1, drawn.unsqueeze(2).expand(-1, -1, z.shape[2]))
            there = there + scale * torch.randn_like(there) @ spread.T
            z = torch.cat([z, there], dim=1)
            known = torch.cat([known, candidate_likelihood(self.bench, contexts, there)], dim=1)
        return likeliest_of(z, known)


@dataclass(frozen=True)
class Climbed:
    """Adam's steps up the likelihood from the likeliest particle."""

    bench: Bench
    steps: int

    def __call__(self, belief: Belief, contexts: Sequence[Batch]) -> Tensor:
        return torch.cat(
            [self._one(z, one) for z, one in zip(belief.guess(), contexts, strict=True)]
        )

    def _one(self, start: Tensor, context: Batch) -> Tensor:
        z = start.clone().view(1, 1, -1).requires_grad_(True)
        optimiser = Adam([z], lr=RATE)
        rows = context._replace(ahead=None)
        for _ in range(self.steps):
            found = of_transitions(self.bench.agent, self.bench.particles, rows, z).sum()
            z.grad = torch.autograd.grad(-found, z)[0]
            optimiser.step()
        return z.detach()[0]


def candidate_likelihood(bench: Bench, contexts: Sequence[Batch], z: Tensor) -> Tensor:
    """`(copy, candidate)` of each copy's own candidates.

    Args:
        bench: whose decoder says it.
        contexts: `(1, transition, ...)` of each copy.
        z: `(copy, candidate, latent)`.
    """
    found = [
        log_likelihood(bench.agent, replace(bench.particles, z=own), one)
        for own, one in zip(z, contexts, strict=True)
    ]
    return torch.cat(found)


def likeliest_of(z: Tensor, known: Tensor) -> Tensor:
    """`(copy, latent)` of `(copy, candidate, latent)` and their log-likelihoods."""
    return z[torch.arange(len(z)), known.argmax(dim=1)]
