"""Acts by the weights of particles: an agent that adapts by its decoder, not by its encoder.

What a context says of the particles is `fieldtune.train.agent.likelihood`'s; here it is gathered,
refined with places between the particles, and acted by. Must not know simulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from fieldtune.robot.policy.refinement import MOST, places
from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, act_by, rewarded_step
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles, Spread, log_likelihood
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import from_numpy, to_numpy


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

    def swapped(self, order: Sequence[int]) -> ParticleActor:
        """Each copy acting by what another one knows: copy i by what `order[i]` does. To act by;
        it has not what its refinement would ask."""
        known, rows = self.known, torch.as_tensor(order, device=self.known.z.device)
        taken = Known(known.z[rows], known.log_likelihoods[rows], known.seen[rows])
        return self._with(taken, self.acting)

    @property
    def always_heeds(self) -> bool:
        """See `fieldtune.train.agent.actor.always_heeds`."""
        return self.acting.follows_rewards

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
        held = self.acting.likeliest or self.acting.follows_rewards
        if self.acting.draws_at(self._step) and not held:
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
        """With places between the particles in the stead of those it had before, where they help
        (`fieldtune.robot.policy.refinement`)."""
        if self._agent.shape.sparse_reward or not 0 < known.steps <= MOST:
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
