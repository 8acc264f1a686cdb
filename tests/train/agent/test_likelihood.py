"""The posterior over particles by the decoder's likelihood, against sums written out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.robot.policy.refinement import PLACES
from fieldtune.train.agent import by_likelihood, likelihood
from fieldtune.train.agent.actor import MEAN_ACTION, Acting
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import Particles, log_likelihood
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.smac import SmacSettings
from fieldtune.train.data.replay import Batch

TASKS, STEPS, COUNT = 3, 7, 11


@pytest.fixture(params=["dense", "sparse", "dynamics"])
def kind(request):
    return request.param


@pytest.fixture
def agent(kind):
    torch.manual_seed(0)
    constants = Normalisation(
        observation_mean=np.zeros(4, np.float32),
        observation_std=np.ones(4, np.float32),
        action_centre=np.zeros(2, np.float32),
        action_half_range=np.ones(2, np.float32),
        reward_mean=-0.5 if kind == "sparse" else 0.0,
        reward_std=0.5 if kind == "sparse" else 1.0,
    )
    shape = Shape(4, 2, next_in_context=kind == "dynamics", sparse_reward=kind == "sparse")
    return Agent(shape, SmacSettings(), constants)


@pytest.fixture
def particles(agent, kind):
    change = torch.rand(4) + 0.1 if kind == "dynamics" else None
    return Particles(torch.randn(COUNT, agent.latent_size), 0.3, change)


@pytest.fixture
def context(kind):
    reward = torch.randn(TASKS, STEPS)
    if kind == "sparse":
        reward = torch.where(reward > 0, 1.0, -1.0)  # 0 and −1 of the family, standardised
    return Batch(
        observation=torch.randn(TASKS, STEPS, 4),
        action=torch.rand(TASKS, STEPS, 2) * 2 - 1,
        reward=reward,
        next_observation=torch.randn(TASKS, STEPS, 4),
        done=torch.zeros(TASKS, STEPS),
    )


def one(agent, particles, context, task, step, particle):
    s, a = context.observation[task, step], context.action[task, step]
    z, r = particles.z[particle], context.reward[task, step]
    predicted = agent.decoder(s, a, z).squeeze()
    if agent.shape.sparse_reward:
        found = torch.log(torch.sigmoid(predicted if r > 0 else -predicted))
    else:
        found = -((predicted - r) ** 2) / (2 * particles.reward_variance)
    if agent.dynamics is not None:
        left = agent.dynamics(s, a, z) - (context.next_observation[task, step] - s)
        found = found - (left**2 / (2 * particles.change_variance)).sum()
    return found


@torch.no_grad()
def test_it_is_the_sum_over_transitions(agent, particles, context):
    expected = [
        [sum(one(agent, particles, context, t, i, p) for i in range(STEPS)) for p in range(COUNT)]
        for t in range(TASKS)
    ]
    found = log_likelihood(agent, particles, context)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_pieces_change_nothing(agent, particles, context, monkeypatch):
    whole = log_likelihood(agent, particles, context)
    monkeypatch.setattr(likelihood, "_ROWS", TASKS * COUNT * 2)
    torch.testing.assert_close(log_likelihood(agent, particles, context), whole)
    monkeypatch.setattr(likelihood, "_ROWS", COUNT * 2)
    alone = log_likelihood(agent, particles, context)
    torch.testing.assert_close(alone, whole)
    with ThreadPoolExecutor(3) as threads:
        spread = log_likelihood(agent, particles, context, threads.map)
    assert torch.equal(spread, alone)
    assert not spread.requires_grad


def test_nothing_seen_leaves_every_particle_as_likely(agent, particles, context):
    empty = context.each(lambda part: part[:, :0])
    actor = ByLikelihood(agent, particles).adapt([empty])
    np.testing.assert_allclose(actor.effective_particles, COUNT, rtol=1e-5)
    np.testing.assert_allclose(actor.embeddings, particles.z.mean(0).expand(TASKS, -1), atol=1e-5)
    drawn = set()
    for seed in range(40):
        actor.begin(torch.Generator().manual_seed(seed))
        drawn.add(actor.act(np.zeros((TASKS, 4)), torch.default_generator).tobytes())
    assert len(drawn) > 20


@pytest.mark.parametrize("kind", ["dense", "dynamics"], indirect=True)
def test_the_particle_that_made_the_rewards_is_found_and_acted_on(agent, particles, context, kind):
    torch.manual_seed(1)
    sharp = replace(particles, reward_variance=1e-8)
    truth = torch.tensor([2, 5, 9])
    z = particles.z[truth].unsqueeze(1).expand(-1, STEPS, -1)
    with torch.no_grad():
        predicted = agent.decoder(context.observation, context.action, z).squeeze(-1)
        told = context._replace(reward=predicted)
        if kind == "dynamics":
            change = agent.dynamics(context.observation, context.action, z)
            told = told._replace(next_observation=context.observation + change)
    actor = ByLikelihood(agent, sharp).adapt([told], MEAN_ACTION)
    np.testing.assert_allclose(actor.embeddings, particles.z[truth], atol=1e-2)
    assert (actor.effective_particles < 1.1).all()
    torch.testing.assert_close(actor.z, particles.z[truth])
    actor.begin(torch.default_generator)
    acted = actor.act(np.zeros((TASKS, 4)), torch.default_generator)
    expected = agent.actor(particles.z[truth], torch.zeros(TASKS, agent.latent_size), MEAN_ACTION)
    expected.begin(torch.default_generator)
    np.testing.assert_allclose(
        acted, expected.act(np.zeros((TASKS, 4)), torch.default_generator), rtol=1e-5
    )


def test_exploration_draws_particles_by_their_weight(agent, particles, context):
    actor = ByLikelihood(agent, replace(particles, reward_variance=2.0)).adapt([context], Acting())
    z = actor.known.z
    weights = torch.softmax(
        log_likelihood(agent, replace(particles, reward_variance=2.0), context, z=z), dim=1
    )
    rng, held = torch.Generator().manual_seed(0), torch.zeros(z.shape[1])
    for _ in range(600):
        actor.begin(rng)
        held[(z[0] == actor.z[0]).all(dim=1)] += 1
    np.testing.assert_allclose(held / 600, weights[0], atol=0.08)


def test_step_by_step_it_comes_to_what_the_whole_context_gives(agent, particles, context):
    """Constants are those of physical units here, but for sparse rewards."""
    inference = ByLikelihood(agent, particles)
    actor = inference.adapt([context.each(lambda part: part[:, :0])])
    constants = agent.normalisation
    for step in range(STEPS):
        reward = context.reward[:, step].numpy() * constants.reward_std + constants.reward_mean
        actor.heed(
            context.observation[:, step].numpy(),
            context.action[:, step].numpy(),
            reward,
            context.next_observation[:, step].numpy(),
        )
    whole = log_likelihood(agent, particles, context)
    torch.testing.assert_close(actor.known.log_likelihoods, whole, rtol=1e-4, atol=1e-4)
    weights = torch.softmax(whole, dim=1)
    np.testing.assert_allclose(actor.embeddings, weights @ particles.z, atol=1e-4)
    np.testing.assert_allclose(
        actor.effective_particles, 1 / weights.square().sum(dim=1), rtol=1e-3
    )
    torch.testing.assert_close(actor.z, particles.z[whole.argmax(dim=1)])


def test_having_seen_more_is_having_seen_all_of_it(agent, particles, context):
    """Whatever was weighed when, the places between particles too."""
    inference = ByLikelihood(agent, particles)
    first, rest = (context.each(lambda part: part[:, :3]), context.each(lambda part: part[:, 3:]))
    twice = inference.adapt([first]).after([rest]).known
    whole = log_likelihood(agent, particles, context, z=twice.z)
    torch.testing.assert_close(twice.log_likelihoods, whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(twice.z[:, :COUNT], particles.z.expand(TASKS, -1, -1))


@pytest.mark.parametrize("kind", ["dense", "dynamics"])
def test_after_an_episode_what_it_acts_by_is_likelier_than_every_particle(
    agent, particles, context
):
    own = log_likelihood(agent, particles, context).max(dim=1).values
    inference = ByLikelihood(agent, particles)
    once = inference.adapt([context])
    twice = once.after([context.each(lambda part: part[:, :0])])  # nothing new: chosen anew alone
    best, better = (actor.known.log_likelihoods.max(dim=1).values for actor in (once, twice))
    assert (best >= own).all()
    assert (best > own).any()
    assert (better >= best - 1e-4).all()  # the likeliest stays among the places
    assert (better > best + 1e-4).any()
    np.testing.assert_allclose(once.explained, own / STEPS, rtol=1e-4)  # of the particles alone


@pytest.mark.parametrize("kind", ["dense", "dynamics"])
def test_copies_have_places_of_their_own_whatever_batches_they_came_in(agent, particles, context):
    inference = ByLikelihood(agent, particles)
    together = inference.adapt([context]).known
    alone = [context.each(lambda part, i=i: part[i : i + 1]) for i in range(TASKS)]
    apart = inference.adapt(alone).known
    torch.testing.assert_close(apart.z, together.z)
    torch.testing.assert_close(apart.log_likelihoods, together.log_likelihoods)
    assert together.z.shape[1] == COUNT + PLACES
    assert not torch.equal(together.z[0], together.z[1])


@pytest.mark.parametrize("kind", ["sparse"])
def test_where_rewards_are_sparse_there_are_particles_alone(agent, particles, context):
    known = ByLikelihood(agent, particles).adapt([context]).after([context]).known
    torch.testing.assert_close(known.z, particles.z.expand(TASKS, -1, -1))


def test_a_context_too_long_to_be_weighed_again_leaves_the_particles_alone(
    agent, particles, context, monkeypatch
):
    monkeypatch.setattr(by_likelihood, "MOST", STEPS - 1)
    assert ByLikelihood(agent, particles).adapt([context]).known.z.shape[1] == COUNT


def test_a_context_that_no_particle_explains_is_called_unlike(agent, particles, context):
    likeliest = log_likelihood(agent, particles, context).max(dim=1).values / STEPS
    between = float(likeliest.sort().values[:2].mean())
    inference = ByLikelihood(agent, replace(particles, unlike_below=between))
    actor = inference.adapt([context])
    np.testing.assert_allclose(actor.explained, likeliest.detach(), rtol=1e-4)
    assert actor.unlike.sum() == 1
    assert actor.unlike[likeliest.argmin()]
    nothing = inference.adapt([context.each(lambda part: part[:, :0])])
    assert not nothing.unlike.any()


def test_the_encoder_too_comes_step_by_step_to_what_the_whole_context_gives(agent, context):
    actor = agent.adapt([context.each(lambda part: part[:, :0])])
    constants = agent.normalisation
    for step in range(STEPS):
        actor.heed(
            context.observation[:, step].numpy(),
            context.action[:, step].numpy(),
            context.reward[:, step].numpy() * constants.reward_std + constants.reward_mean,
            context.next_observation[:, step].numpy(),
        )
    whole = agent.adapt([context])
    torch.testing.assert_close(actor.mean, whole.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(actor.variance, whole.variance, rtol=1e-4, atol=1e-6)
