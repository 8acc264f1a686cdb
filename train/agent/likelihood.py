"""What a context says of the task by the decoder's likelihood, over particles of z.

The encoder amortises q(z|h) and is wrong on contexts unlike those it learned from; the decoder
p(r|s,a,z) is right on many more of them, so it is asked instead (docs/inference.md). Knows networks
and particles; not where the particles come from, nor simulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, act_by
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.data.replay import Batch

_ROWS = 65_536  # of the decoder at once, so that memory is bounded


@dataclass(frozen=True)
class Particles:
    """Where z may be: draws that the policy was trained with, and how far the decoder is off there.

    Attributes:
        z: `(particle, latent)`.
        reward_variance: of a reward around the decoder's, in training units; unused where rewards
            are −1 and 0, whose likelihood the decoder says itself.
        change_variance: likewise of s' − s, `(observation,)`, where bodies differ; else None.
    """

    z: Tensor
    reward_variance: float
    change_variance: Tensor | None = None


@torch.no_grad()
def log_likelihood(agent: Agent, particles: Particles, context: Batch) -> Tensor:
    """log p(h | z_i) up to a constant, `(task, particle)`, of contexts `(task, transition, ...)`.

    Rewards beyond the range of the data are read as its end, as the encoder reads them.
    """
    tasks, transitions = context.reward.shape
    count = len(particles.z)
    total = torch.zeros(tasks, count)
    step = max(1, _ROWS // max(1, tasks * count))
    pieces = zip(*(column.split(step, dim=1) for column in context[:5]), strict=True)
    for piece in pieces if transitions else ():
        total += _of_rows(agent, particles, Batch(*piece))
    return total


def _of_rows(agent: Agent, particles: Particles, rows: Batch) -> Tensor:
    tasks, length = rows.reward.shape
    count, latent = particles.z.shape
    shape = (tasks, length, count)

    def spread(part: Tensor) -> Tensor:
        return part.unsqueeze(2).expand(*shape, part.shape[-1])

    z = particles.z.expand(tasks, length, count, latent)
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
    return found.sum(dim=1)


class ByLikelihood:
    """An agent that adapts by its decoder's likelihood, not by its encoder.

    Implements `fieldtune.train.agent.actor.Adaptive`.
    """

    def __init__(self, agent: Agent, particles: Particles) -> None:
        self.agent, self.particles = agent, particles

    @property
    def normalisation(self) -> Normalisation:
        return self.agent.normalisation

    @torch.no_grad()
    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> ParticleActor:
        """Acts with a particle drawn by weight for each episode, or with the likeliest one.

        Args:
            context: `(task, transition, ...)` each, one after another; of an empty one, every
                particle is as likely.
            acting: how z and actions are drawn.
        """
        weights = [log_likelihood(self.agent, self.particles, batch) for batch in context]
        return ParticleActor(self.agent, self.particles, torch.cat(weights), acting)


class ParticleActor:
    """π(a|s,z) with z one of the particles, a row of weights a copy.

    Args:
        agent: whose policy acts, and whose decoder weighs.
        particles: where z may be.
        log_weights: `(copy, particle)`, up to a constant of each copy.
        acting: how z and actions are drawn.
    """

    def __init__(
        self, agent: Agent, particles: Particles, log_weights: Tensor, acting: Acting
    ) -> None:
        self._agent, self._particles, self._acting = agent, particles, acting
        self._weigh(log_weights)

    @property
    def z(self) -> Tensor:
        """What each copy acts by now, `(copy, latent)`."""
        return self._held

    @property
    def embeddings(self) -> NDArray[np.float64]:
        """The weighted means of z, `(copy, latent)`."""
        return (self._weights @ self._particles.z).double().numpy()

    @property
    def effective_particles(self) -> NDArray[np.float64]:
        """1 / Σ wᵢ², `(copy,)`: how many particles still count."""
        return (1.0 / self._weights.square().sum(dim=1)).double().numpy()

    @torch.no_grad()
    def begin(self, rng: Generator) -> None:
        if not self._acting.likeliest or self._nothing_known():
            drawn = torch.multinomial(self._weights, 1, generator=rng).squeeze(1)
            self._held = self._particles.z[drawn]

    @torch.no_grad()
    def act(self, s: Array, rng: Generator) -> Array:
        if self._acting.z_hold == "step" and not self._acting.likeliest:
            self.begin(rng)
        return act_by(
            self._agent.policy, self._agent.normalisation, s, self._held, self._acting, rng
        )

    @torch.no_grad()
    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        """Weigh the particles by a step that was rewarded, and act with the likeliest from now on.

        Args:
            s, a: `(copy, observation)` and `(copy, action)`, physical.
            r: true rewards, `(copy,)`.
            reached: s', `(copy, observation)`.
        """
        constants = self._agent.normalisation

        def row(values: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(values).unsqueeze(1)

        step = Batch(
            observation=row(constants.observation(s)),
            action=row(constants.action(a)),
            reward=row(constants.reward(r)),
            next_observation=row(constants.observation(reached)),
            done=torch.zeros(len(r), 1),
        )
        self._weigh(self._log_weights + log_likelihood(self._agent, self._particles, step))

    def _weigh(self, log_weights: Tensor) -> None:
        """Hold the likeliest particle under these weights, `(copy, particle)`."""
        self._log_weights = log_weights
        self._weights = torch.softmax(log_weights, dim=1)
        self._held = self._particles.z[self._weights.argmax(dim=1)]

    def _nothing_known(self) -> bool:
        return bool((self._weights == self._weights[:, :1]).all())
