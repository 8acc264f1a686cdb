"""What a context says of the task by the decoder's likelihood, over particles of z.

The encoder amortises q(z|h) and is wrong on contexts unlike those it learned from; the decoder
p(r|s,a,z) is right on many more of them, so it is asked instead (docs/inference.md). Knows networks
and particles; not where the particles come from, nor simulators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from fieldtune.robot.policy.refinement import MOST, places
from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, act_by, rewarded_step
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import CPU, from_numpy, to_numpy

_ROWS = 16_384  # of the decoder at once: what it computes on stays in the cache


@dataclass(frozen=True)
class Particles:
    """Where z may be: draws that the policy was trained with, and how far the decoder is off there.

    Attributes:
        z: `(particle, latent)`.
        reward_variance: of a reward around the decoder's, in training units; unused where rewards
            are −1 and 0, whose likelihood the decoder says itself.
        change_variance: likewise of s' − s, `(observation,)`, where bodies differ; else None.
        temper: what a transition's log-likelihood counts, since the decoder errs alike all through
            an episode: with errors of correlation ρ, T transitions tell as much as T / (1 + (T−1)ρ)
            of independent ones.
        unlike_below: mean log-likelihood of a context's transitions under the likeliest particle,
            below which the task is unlike those trained on.
    """

    z: Tensor
    reward_variance: float
    change_variance: Tensor | None = None
    temper: float = 1.0
    unlike_below: float = -math.inf


Part = tuple[Batch, Tensor]
"""Transitions, and the z that they are weighed at."""


class Spread(Protocol):
    """Applies a function to pieces and gives what it returned, in their order: `map`, or a thread
    pool's."""

    def __call__(
        self, function: Callable[[Part], Tensor], pieces: Iterable[Part], /
    ) -> Iterable[Tensor]: ...


@torch.no_grad()
def log_likelihood(
    agent: Agent,
    particles: Particles,
    context: Batch,
    spread: Spread = map,
    z: Tensor | None = None,
) -> Tensor:
    """Tempered log p(h | z_i) up to a constant, `(task, candidate)`, of contexts
    `(task, transition, ...)`.

    Rewards beyond the range of the data are read as its end, as the encoder reads them. Pieces are
    the same, and so are all bits, whoever computes them.

    Args:
        agent: whose decoders say it.
        particles: candidates, and how far the decoders are off.
        context: in training units.
        spread: over which threads.
        z: each task's own candidates, `(task, candidate, latent)`; the particles where None.
    """
    tasks, transitions = context.reward.shape
    if z is None:
        z = particles.z.expand(tasks, *particles.z.shape)
    count = z.shape[1]
    total = z.new_zeros(tasks, count)
    if not tasks or not transitions:
        return total
    some = max(1, _ROWS // count) if total.device == CPU else tasks
    step = max(1, _ROWS // (min(some, tasks) * count))

    def of_piece(piece: Part) -> Tensor:
        with torch.no_grad():  # each thread has its own
            return of_transitions(agent, particles, *piece).sum(dim=1)

    slices = [
        (slice(first, first + some), slice(begin, begin + step))
        for first in range(0, tasks, some)
        for begin in range(0, transitions, step)
    ]
    pieces = [(Batch.of(c[rows, steps] for c in context[:5]), z[rows]) for rows, steps in slices]
    for (rows, _), found in zip(slices, spread(of_piece, pieces), strict=True):
        total[rows] += found
    return total


def of_transitions(agent: Agent, particles: Particles, rows: Batch, z: Tensor) -> Tensor:
    """Tempered log p(r, s' | s, a, z) up to a constant, `(task, transition, candidate)`.

    Args:
        agent: whose decoders say it.
        particles: how far these are off.
        rows: `(task, transition, ...)`, in training units.
        z: each task's own candidates, `(task, candidate, latent)`.
    """
    tasks, length = rows.reward.shape
    shape = (tasks, length, z.shape[1])

    def spread(part: Tensor) -> Tensor:
        return part.unsqueeze(2).expand(*shape, part.shape[-1])

    z = z.unsqueeze(1).expand(*shape, z.shape[2])
    observation, action = spread(rows.observation), spread(rows.action)
    predicted = agent.decoder(observation, action, z).squeeze(-1)
    if agent.shape.sparse_reward:
        success = agent.success(rows.reward).unsqueeze(-1).expand(shape)
        found = -F.binary_cross_entropy_with_logits(predicted, success, reduction="none")
    else:
        constants = agent.normalisation
        reward = rows.reward.clamp(constants.reward_low, constants.reward_high).unsqueeze(-1)
        found = -(predicted - reward).square() / (2 * particles.reward_variance)
    if agent.dynamics is not None and particles.change_variance is not None:
        change = spread(rows.next_observation - rows.observation)
        error = agent.dynamics(observation, action, z) - change
        found = found - (error.square() / (2 * particles.change_variance)).sum(dim=-1)
    return particles.temper * found


class ByLikelihood:
    """An agent that adapts by its decoder's likelihood, not by its encoder.

    Implements `fieldtune.train.agent.actor.Adaptive`.
    """

    def __init__(self, agent: Agent, particles: Particles, spread: Spread = map) -> None:
        self.agent, self.particles, self._spread = agent, particles, spread

    @property
    def normalisation(self) -> Normalisation:
        return self.agent.normalisation

    @property
    def networks(self) -> Agent:
        """What says where it computes (`fieldtune.train.device.device_of`)."""
        return self.agent

    @torch.no_grad()
    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> ParticleActor:
        """Acts with a particle drawn by weight for each episode, or with the likeliest one.

        Args:
            context: `(task, transition, ...)` each, one after another; of an empty one, every
                particle is as likely.
            acting: how z and actions are drawn.
        """
        copies = sum(len(batch.reward) for batch in context)
        z = self.particles.z.expand(copies, *self.particles.z.shape)
        known = Known(z, z.new_zeros(z.shape[:2]), z.new_zeros(copies))
        return ParticleActor(self.agent, self.particles, known, acting, self._spread).after(context)


@dataclass(frozen=True)
class Known:
    """What has been seen, a row a copy, and what it says of z.

    Attributes:
        z: where it may be, `(copy, place, latent)`: the particles, and places between them
            (`fieldtune.robot.policy.refinement`), each copy's own.
        log_likelihoods: of what each copy has seen, `(copy, place)`, up to a constant.
        seen: how many transitions, `(copy,)`.
        contexts: them, in training units, each as `ParticleActor.after` was given it.
    """

    z: Tensor
    log_likelihoods: Tensor
    seen: Tensor
    contexts: tuple[Sequence[Batch], ...] = ()

    @property
    def steps(self) -> int:
        """How many transitions at most, of any copy."""
        return sum(max(one.reward.shape[1] for one in context) for context in self.contexts)


class ParticleActor:
    """π(a|s,z) with z one of the particles, or a place between them, a row of weights a copy.
    `known` is what it acts by.

    Args:
        agent: whose policy acts, and whose decoder weighs.
        particles: where z may be.
        known: by now.
        acting: how z and actions are drawn.
        spread: as given to `log_likelihood`.
    """

    def __init__(
        self,
        agent: Agent,
        particles: Particles,
        known: Known,
        acting: Acting,
        spread: Spread = map,
    ) -> None:
        self._agent, self._particles, self.acting = agent, particles, acting
        self._spread, self._step = spread, 0
        self._know(known)

    @torch.no_grad()
    def after(self, context: Sequence[Batch]) -> ParticleActor:
        """The same having seen more, `(copy, transition, ...)` one after another, and with places
        between the particles chosen anew by all that it has seen."""
        known = self.known
        steps = [known.seen.new_full((len(one.reward),), one.reward.shape[1]) for one in context]
        weighed = replace(
            known,
            log_likelihoods=known.log_likelihoods + self._of(context, known.z),
            seen=known.seen + torch.cat(steps),
            contexts=(*known.contexts, context),
        )
        return self._with(self._refined(weighed), self.acting)

    def acting_as(self, acting: Acting) -> ParticleActor:
        """The same, drawing z and actions in another way."""
        return self._with(self.known, acting)

    @property
    def z(self) -> Tensor:
        """What each copy acts by now, `(copy, latent)`."""
        return self._held

    @property
    def embeddings(self) -> NDArray[np.float64]:
        """The weighted means of z, `(copy, latent)`."""
        return to_numpy((self._weights.unsqueeze(1) @ self.known.z).squeeze(1).double())

    @property
    def effective_particles(self) -> NDArray[np.float64]:
        """1 / Σ wᵢ², `(copy,)`: how many particles still count, among themselves."""
        weights = torch.softmax(self._own, dim=1)
        return to_numpy((1.0 / weights.square().sum(dim=1)).double())

    @property
    def explained(self) -> NDArray[np.float64]:
        """Mean log-likelihood of what each copy has seen, a transition, under its likeliest
        particle, `(copy,)`; of nothing seen, 0."""
        likeliest = self._own.max(dim=1).values
        return to_numpy((likeliest / self.known.seen.clamp(min=1)).double())

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """Whether what a copy has seen is unlike the tasks trained on, `(copy,)`."""
        return (to_numpy(self.known.seen) > 0) & (self.explained < self._particles.unlike_below)

    @torch.no_grad()
    def begin(self, rng: Generator | None) -> None:
        self._step = 0
        if not self.acting.likeliest or self._nothing_known():
            self._draw(rng)

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        if self.acting.draws_at(self._step) and not self.acting.likeliest:
            self._draw(rng)
        self._step += 1
        return act_by(
            self._agent.policy, self._agent.normalisation, s, self._held, self.acting, rng
        )

    @torch.no_grad()
    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        """See `fieldtune.train.agent.actor.HeedingActor.heed`; acts with the likeliest place."""
        known, constants = self.known, self._agent.normalisation
        step = [rewarded_step(constants, s, a, r, reached, known.z.device)]
        self._know(
            replace(
                known,
                log_likelihoods=known.log_likelihoods + self._of(step, known.z),
                seen=known.seen + 1,
                contexts=(*known.contexts, step),
            )
        )

    @property
    def _own(self) -> Tensor:
        """Of the particles alone, `(copy, particle)`."""
        return self.known.log_likelihoods[:, : len(self._particles.z)]

    def _of(self, context: Sequence[Batch], z: Tensor) -> Tensor:
        """`(copy, place)` of `(copy, transition, ...)` one after another and each copy's z."""
        rows = z.split([len(one.reward) for one in context])
        weigh = partial(log_likelihood, self._agent, self._particles, spread=self._spread)
        return torch.cat([weigh(one, z=its) for one, its in zip(context, rows, strict=True)])

    def _refined(self, known: Known) -> Known:
        """With places between the particles in the stead of those it had before."""
        if not 0 < known.steps <= MOST:
            return known
        own = len(self._particles.z)
        z, log_likelihoods = to_numpy(known.z.double()), to_numpy(known.log_likelihoods.double())
        found = [places(*one, own) for one in zip(z, log_likelihoods, strict=True)]
        there = from_numpy(np.stack(found), known.z.device).to(known.z.dtype)
        weighed = torch.stack([self._of(one, there) for one in known.contexts]).sum(dim=0)
        return replace(
            known,
            z=torch.cat([known.z[:, :own], there], dim=1),
            log_likelihoods=torch.cat([known.log_likelihoods[:, :own], weighed], dim=1),
        )

    def _with(self, known: Known, acting: Acting) -> ParticleActor:
        return ParticleActor(self._agent, self._particles, known, acting, self._spread)

    def _draw(self, rng: Generator | None) -> None:
        drawn = torch.multinomial(self._weights, 1, generator=rng).squeeze(1)
        self._hold(drawn)

    def _know(self, known: Known) -> None:
        """Hold the likeliest place by this."""
        self.known = known
        self._weights = torch.softmax(known.log_likelihoods, dim=1)
        self._hold(self._weights.argmax(dim=1))

    def _hold(self, index: Tensor) -> None:
        z = self.known.z
        self._held = z[torch.arange(len(z), device=z.device), index]

    def _nothing_known(self) -> bool:
        return bool((self._weights == self._weights[:, :1]).all())
