"""What a context says of the task by the decoder's likelihood, over particles of z.

The encoder amortises q(z|h) and is wrong on contexts unlike those it learned from; the decoder
p(r|s,a,z) is right on many more of them, so it is asked instead (docs/inference.md). Knows networks
and particles; not where the particles come from, nor simulators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fieldtune.train.agent.agent import Agent
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import CPU

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
