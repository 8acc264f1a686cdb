"""Particles of z: where training tasks lie by their offline data, on which the encoder is right.

Knows runs and replays; the likelihood itself is `fieldtune.train.agent.likelihood`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import Particles, of_transitions
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Batch, Replay
from fieldtune.train.device import from_numpy

COUNT = 1_000
CONTEXT = 128  # transitions that a particle is the posterior mean of
RESIDUAL = 256  # transitions of each task that the decoder's error is measured on
EPISODE = 64  # transitions of one trajectory, to see how well those of its task explain it
_EPISODES = 4  # of each task
_RARE = 0.01  # the share of training tasks' trajectories that are explained worse
_MARGIN = 3.0  # own exploration is explained worse than offline data is (docs/inference.md)
_NEAR = 50  # particles of other tasks, of which one explains an episode best
_AT_ONCE = 50  # tasks


@torch.no_grad()
def offline_particles(agent: Agent, offline: Replay, horizon: int, seed: int) -> Particles:
    """Posterior means of contexts of random training tasks, and how far the decoder is off there.

    Half of the particles lie between two such means: tasks that were trained on may be few and far
    apart (docs/inference.md has what each source gives).

    Its errors are of other draws than their z was inferred from.

    Args:
        agent: trained.
        offline: the training tasks' offline data, in its units.
        horizon: steps of an episode, over which errors are correlated.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    known = offline.tasks_with_data
    tasks = [int(task) for task in rng.choice(known, size=COUNT)]
    means = [
        agent.infer(offline.context(rng, tasks[i : i + _AT_ONCE], CONTEXT, None))[0]
        for i in range(0, COUNT, _AT_ONCE)
    ]
    rewards, changes, episodes = [], [], []
    for i in range(0, len(known), _AT_ONCE):
        some = known[i : i + _AT_ONCE]
        z = agent.infer(offline.context(rng, some, CONTEXT, None))[0]
        reward, change = _errors(agent, offline.transitions(rng, some, RESIDUAL), z)
        rewards.append(reward.flatten())
        changes += [] if change is None else [change.flatten(0, 1)]
        episodes += [(some, z, offline.context(rng, some, EPISODE, 1)) for _ in range(_EPISODES)]
    z, sources = _half_between(torch.cat(means), np.array(tasks), rng)
    particles = Particles(
        z=z,
        reward_variance=float(_variance(torch.cat(rewards))),
        change_variance=_variance(torch.cat(changes)) if changes else None,
    )
    alike = float(np.mean([_correlation(*_errors(agent, rows, z)) for _, z, rows in episodes]))
    particles = replace(particles, temper=1.0 / (1.0 + (horizon - 1) * max(0.0, alike)))
    explained = [_explained(agent, particles, sources, *episode) for episode in episodes]
    return replace(particles, unlike_below=_MARGIN * float(torch.cat(explained).quantile(_RARE)))


def _explained(
    agent: Agent,
    particles: Particles,
    sources: NDArray[np.int64],
    tasks: Sequence[int],
    z: Tensor,
    rows: Batch,
) -> Tensor:
    """Mean log-likelihood of each task's `rows` under the likeliest particle that its own data have
    no part in, `(task,)`: as a task is explained that was not trained on. Under its own z where
    that explains them worse.

    Args:
        sources: the two tasks that each particle is of, `(particle, 2)`.
        tasks: numbers of those that `z` `(task, latent)` and `rows` are of.
    """
    own = (sources[None] == np.array(tasks)[:, None, None]).any(axis=2)
    own &= ~own.all(axis=1, keepdims=True)  # of data of one task there is nothing else
    distance = torch.cdist(z, particles.z).masked_fill(from_numpy(own, z.device), torch.inf)
    far, near = distance.topk(min(_NEAR, len(particles.z)), dim=1, largest=False)
    found = of_transitions(agent, particles, rows, particles.z[near]).mean(dim=1)
    by_others = found.masked_fill(far.isinf(), -torch.inf).max(dim=1).values
    return torch.minimum(
        by_others, of_transitions(agent, particles, rows, z.unsqueeze(1)).mean((1, 2))
    )


def _half_between(
    z: Tensor, tasks: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Tensor, NDArray[np.int64]]:
    """The first half of `z` `(particle, latent)` as it is; in the place of the second, as many
    points on the way from one of those to any other: between the tasks that were trained on. And
    the two of `tasks` `(particle,)` that each is of."""
    kept = (len(z) + 1) // 2
    others = rng.permutation(len(z))[: len(z) - kept]
    way = from_numpy(rng.random((len(others), 1)), z.device).to(z.dtype)
    ends = z[kept:]
    between = ends + way * (z[from_numpy(others, z.device)] - ends)
    second = np.concatenate([tasks[:kept], tasks[others]])
    return torch.cat([z[:kept], between]), np.column_stack([tasks, second])


def _errors(agent: Agent, rows: Batch, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is left of rewards (of success, where sparse), `(task, transition)`, and of s' − s,
    `(task, transition, observation)`, where bodies differ; with z `(task, latent)`."""
    each = per_row(z, rows.reward.shape[1])
    predicted = agent.decoder(rows.observation, rows.action, each).squeeze(-1)
    if agent.shape.sparse_reward:
        reward = agent.success(rows.reward) - torch.sigmoid(predicted)
    else:
        reward = rows.reward - predicted
    if agent.dynamics is None:
        return reward, None
    change = rows.next_observation - rows.observation
    return reward, change - agent.dynamics(rows.observation, rows.action, each)


def _variance(errors: Tensor) -> Tensor:
    """About 0, over the first dimension."""
    return errors.square().mean(dim=0).clamp(min=1e-8)


def _correlation(reward: Tensor, change: Tensor | None) -> float:
    """The mean correlation of the errors of two steps of an episode, over their components."""
    parts = [reward.unsqueeze(-1), *([] if change is None else [change])]
    errors = torch.cat(parts, dim=-1)
    length, squares = errors.shape[1], errors.square().sum(dim=1)
    pairs = (errors.sum(dim=1).square() - squares).sum(dim=0) / (length - 1)
    return float((pairs / squares.sum(dim=0).clamp(min=1e-8)).mean())
