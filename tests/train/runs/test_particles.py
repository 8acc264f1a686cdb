from __future__ import annotations

import numpy as np
import pytest
import torch

from fieldtune.train.agent.likelihood import log_likelihood
from fieldtune.train.runs import particles
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.untrained import untrained


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def agent(run):
    torch.manual_seed(0)
    return untrained(run).agent


@pytest.fixture
def offline(run, agent):
    return offline_replay(run, agent)


def test_they_depend_on_weights_and_seed_alone(agent, offline):
    first = offline_particles(agent, offline, 0)
    torch.manual_seed(5)
    again, other = offline_particles(agent, offline, 0), offline_particles(agent, offline, 1)
    assert first.z.shape == (1_000, 3)
    assert torch.equal(first.z, again.z)
    assert (first.reward_variance, first.unlike_below) == (
        again.reward_variance,
        again.unlike_below,
    )
    assert not torch.equal(first.z, other.z)


@torch.no_grad()
def test_the_variance_is_that_of_the_decoders_errors(agent, offline):
    found = offline_particles(agent, offline, 0)
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
    found = offline_particles(agent, offline, 0)
    rng, tasks = np.random.default_rng(4), offline.tasks_with_data
    unlike = []
    for _ in range(20):
        context = offline.context(rng, tasks, particles.EPISODE, 1)
        best = log_likelihood(agent, found, context).max(dim=1).values / particles.EPISODE
        unlike += (best < found.unlike_below).tolist()
    assert np.mean(unlike) < 0.05
    assert found.unlike_below < 0
