from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.train.agent.likelihood import log_likelihood
from fieldtune.train.runs import particles
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.replays import offline_replay

HORIZON = 20


@pytest.fixture
def offline(run, agent):
    return offline_replay(run, agent)


def test_they_depend_on_weights_and_seed_alone(agent, offline):
    first = offline_particles(agent, offline, HORIZON, 0)
    torch.manual_seed(5)
    again, other = (
        offline_particles(agent, offline, HORIZON, 0),
        offline_particles(agent, offline, HORIZON, 1),
    )
    assert first.z.shape == (1_000, 3)
    assert torch.equal(first.z, again.z)
    assert (first.reward_variance, first.unlike_below) == (
        again.reward_variance,
        again.unlike_below,
    )
    assert not torch.equal(first.z, other.z)


@torch.no_grad()
def test_the_variance_is_that_of_the_decoders_errors(agent, offline):
    found = offline_particles(agent, offline, HORIZON, 0)
    tasks = offline.tasks_with_data
    rng = np.random.default_rng(3)
    z = agent.infer(offline.context(rng, tasks, 128, None))[0]
    rows = offline.transitions(rng, tasks, 256)
    each = z.unsqueeze(1).expand(-1, 256, -1)
    error = agent.decoder(rows.observation, rows.action, each).squeeze(-1) - rows.reward
    assert found.reward_variance == pytest.approx(float(error.square().mean()), rel=0.1)


def test_hardly_any_of_the_training_tasks_episodes_are_called_unlike_them(
    agent, offline, monkeypatch
):
    monkeypatch.setattr(particles, "_EPISODES", 50)  # of each task, for a steady share
    found = offline_particles(agent, offline, HORIZON, 0)
    rng, tasks = np.random.default_rng(4), offline.tasks_with_data
    unlike = []
    for _ in range(20):
        context = offline.context(rng, tasks, particles.EPISODE, 1)
        best = log_likelihood(agent, found, context).max(dim=1).values / particles.EPISODE
        unlike += (best < found.unlike_below / particles._MARGIN).tolist()
    assert np.mean(unlike) < 0.05
    assert found.unlike_below < 0


def test_errors_that_are_alike_all_through_an_episode_tell_less(agent, offline, monkeypatch):
    """With correlation ρ, T transitions tell as much as T / (1 + (T−1)ρ) independent ones."""
    draws = torch.Generator().manual_seed(0)

    def errors(_, rows, z):  # noqa: ARG001
        tasks, length = rows.reward.shape
        of_step = torch.randn(tasks, length, generator=draws)
        return 0.8**0.5 * of_step + 0.2**0.5 * torch.randn(tasks, 1, generator=draws), None

    monkeypatch.setattr(particles, "_EPISODES", 400)
    monkeypatch.setattr(particles, "_errors", errors)
    assert offline_particles(agent, offline, 201, 0).temper == pytest.approx(1 / 41, rel=0.15)
    assert offline_particles(agent, offline, 1, 0).temper == 1.0


def test_half_lie_between_others(agent, offline):
    z = offline_particles(agent, offline, HORIZON, 0).z
    kept, between = z[:500], z[500:]
    assert len(kept.unique(dim=0)) == 500
    inside = (between >= z[:500].min(dim=0).values - 0.1) & (
        between <= kept.max(dim=0).values + 0.1
    )
    assert inside.all(dim=1).float().mean() > 0.95
    distance = torch.cdist(between, kept).min(dim=1).values
    assert (distance > 1e-4).float().mean() > 0.9


@torch.no_grad()
def test_an_episode_is_explained_by_particles_of_other_tasks_where_there_are_any(agent, offline):
    rng, tasks = np.random.default_rng(6), offline.tasks_with_data
    z = agent.infer(offline.context(rng, tasks, 128, None))[0]
    rows = offline.context(rng, tasks, particles.EPISODE, 1)
    known = replace(offline_particles(agent, offline, HORIZON, 0), z=z)
    each = log_likelihood(agent, known, rows) / particles.EPISODE
    sources = np.column_stack([tasks, tasks])
    sources[int(each[0].argmax()), 1] = tasks[0]  # what explains the first task best is of it
    found = particles._explained(agent, known, sources, tasks, z, rows)
    own = (sources[None] == np.array(tasks)[:, None, None]).any(axis=2)
    of_others = each.masked_fill(torch.from_numpy(own), -torch.inf).max(dim=1).values
    expected = torch.minimum(of_others, each.diagonal())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found[0] < each[0].max()
    sources[:] = tasks[0]
    alone = particles._explained(
        agent, known, sources, tasks[:1], z[:1], rows.each(lambda c: c[:1])
    )
    torch.testing.assert_close(alone, each[:1, 0], rtol=1e-4, atol=1e-5)
