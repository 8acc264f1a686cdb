"""Particles of z: where training tasks lie by their offline data, on which the encoder is right.

Knows runs and replays; the likelihood itself is `fieldtune.train.agent.likelihood`'s.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles, of_transitions
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Batch, Replay

COUNT = 1_000
CONTEXT = 128  # transitions that a particle is the posterior mean of
RESIDUAL = 256  # transitions of each task that the decoder's error is measured on
EPISODE = 64  # transitions of one trajectory, to see how well those of its task explain it
_EPISODES = 4  # of each task
_RARE = 0.01  # the share of training tasks' trajectories that would be called unlike them
_AT_ONCE = 50  # tasks


@torch.no_grad()
def offline_particles(agent: Agent, offline: Replay, seed: int) -> Particles:
    """Posterior means of contexts of random training tasks, and the decoder's residual variance.

    The residuals are of other draws than their z was inferred from.

    Args:
        agent: trained.
        offline: the training tasks' offline data, in its units.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    known = offline.tasks_with_data
    tasks = [int(task) for task in rng.choice(known, size=COUNT)]
    means = [
        agent.infer(offline.context(rng, tasks[i : i + _AT_ONCE], CONTEXT, None))[0]
        for i in range(0, COUNT, _AT_ONCE)
    ]
    errors, changes, contexts = [], [], []
    for i in range(0, len(known), _AT_ONCE):
        some = known[i : i + _AT_ONCE]
        z = agent.infer(offline.context(rng, some, CONTEXT, None))[0]
        rows = offline.transitions(rng, some, RESIDUAL)
        error, change = _residuals(agent, rows, z)
        errors.append(error)
        changes += [] if change is None else [change]
        contexts += [(z, offline.context(rng, some, EPISODE, 1)) for _ in range(_EPISODES)]
    left = torch.cat(changes) if changes else None
    particles = Particles(
        z=torch.cat(means),
        reward_variance=float(torch.cat(errors).square().mean().clamp(min=1e-8)),
        change_variance=None if left is None else left.square().mean(dim=(0, 1)).clamp(min=1e-8),
    )
    explained = [
        of_transitions(agent, particles, rows, z.unsqueeze(1)).mean(dim=(1, 2))
        for z, rows in contexts
    ]
    return replace(particles, unlike_below=float(torch.cat(explained).quantile(_RARE)))


def _residuals(agent: Agent, rows: Batch, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is left of rewards, and of s' − s where bodies differ, with z `(task, latent)`."""
    each = per_row(z, rows.reward.shape[1])
    error = agent.decoder(rows.observation, rows.action, each).squeeze(-1) - rows.reward
    if agent.dynamics is None:
        return error, None
    change = rows.next_observation - rows.observation
    return error, agent.dynamics(rows.observation, rows.action, each) - change
