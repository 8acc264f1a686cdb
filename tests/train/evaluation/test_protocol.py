from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.train.agent.actor import MEAN_ACTION, Acting, LatentActor
from fieldtune.train.agent.by_likelihood import ByLikelihood, ParticleActor
from fieldtune.train.agent.units import context_of
from fieldtune.train.config import Evaluation
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.untrained import untrained


@pytest.fixture
def evaluator(run):
    """Make evaluators of the held-out tasks, and free them at the end."""
    made = []

    def make(context_episodes=2, repeats=2):
        settings = Evaluation(context_episodes=context_episodes, repeats=repeats)
        made.append(Evaluator(run.family, run.dataset.test_tasks, settings, Acting()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(("context_episodes", "repeats"), [(1, 3), (2, 2)])
def test_the_curve_goes_from_none_to_all_context_episodes(
    evaluator, agent, run, context_episodes, repeats
):
    result = evaluator(context_episodes, repeats).online(agent, 0)
    assert result.curve.shape == (context_episodes + 1, 2, repeats)
    assert result.quoted.embeddings.shape == (2, repeats, 3)
    assert result.quoted.mean_return == result.curve[context_episodes].mean()
    offline = evaluator(context_episodes, repeats).offline(agent, held_out_replay(run, agent), 0)
    assert offline.returns.shape == (2, repeats)
    assert offline.mean_return == offline.returns.mean()


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(evaluator, agent, run):
    data, held = held_out_replay(run, agent), evaluator()
    for measure in (
        lambda seed: held.online(agent, seed).curve,
        lambda seed: held.offline(agent, data, seed).returns,
    ):
        first = measure(0)
        torch.manual_seed(77)
        np.testing.assert_array_equal(measure(0), first)
        assert not np.array_equal(measure(1), first)


def test_evaluating_does_not_disturb_training(evaluator, agent, run, same):
    stream, weights = torch.get_rng_state(), {n: t.clone() for n, t in agent.state_dict().items()}
    held = evaluator()
    held.online(agent, 0)
    held.offline(agent, held_out_replay(run, agent), 0)
    assert torch.equal(torch.get_rng_state(), stream)
    assert same(dict(agent.state_dict()), weights)


def test_every_repeat_has_a_context_of_its_own(evaluator, agent, run):
    held = evaluator()
    for embeddings in (
        held.online(agent, 0).quoted.embeddings,
        held.offline(agent, held_out_replay(run, agent), 0).embeddings,
    ):
        assert len(np.unique(embeddings.reshape(-1, 3), axis=0)) == 4


def test_what_is_inferred_follows_from_the_rewards(evaluator, agent, run):
    """The same exploration, true rewards of another task: another posterior."""
    here = evaluator().online(agent, 0)
    other = Evaluator(run.family, run.dataset.test_tasks + 1.0, Evaluation(repeats=2), Acting())
    there = other.online(agent, 0)
    other.close()
    assert not np.allclose(here.quoted.embeddings, there.quoted.embeddings)


@pytest.mark.parametrize("name", ["agent", "inference"])
def test_what_is_swapped_knows_what_another_task_was_told(evaluator, name, request):
    found = evaluator(repeats=2).online(request.getfixturevalue(name), 0)
    own, swapped = found.quoted.embeddings, found.swapped.embeddings
    np.testing.assert_array_equal(swapped, own[[1, 0]])  # of two tasks, repeat by repeat
    assert not np.allclose(own[0], own[1])


def test_each_repeat_is_swapped_with_another_task(run, agent):
    tasks = np.arange(4.0).reshape(4, 1)
    held = Evaluator(run.family, tasks, Evaluation(repeats=4), Acting())
    found = held.online(agent, 0)
    held.close()
    own, swapped = found.quoted.embeddings, found.swapped.embeddings
    for task in range(4):
        taken = [(task + turn) % 4 for turn in (1, 2, 3, 1)]
        np.testing.assert_array_equal(swapped[task], own[taken, [0, 1, 2, 3]])


def test_swapped_episodes_begin_where_the_own_did(evaluator, agent):
    class Deaf:
        normalisation = agent.normalisation

        def adapt(self, context, acting=MEAN_ACTION):
            return agent.adapt([context_of(agent, []) for _ in context], acting)

    found = evaluator().online(Deaf(), 0)
    np.testing.assert_array_equal(found.swapped.returns, found.quoted.returns)


def test_nothing_is_swapped_in_one_task_or_for_one_number(evaluator, run, agent):
    assert evaluator().online(agent, 0, only=2).swapped is None
    alone = Evaluator(run.family, run.dataset.test_tasks[:1], Evaluation(repeats=2), Acting())
    assert alone.online(agent, 0).swapped is None
    alone.close()


def test_exploration_at_test_is_as_noisy_as_the_robots(make_run, short_family):
    run = make_run("robot.exploration.action_noise=0.25", "robot.exploration.z_hold=step")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    assert evaluator.exploring == Acting("step", 0.25)
    evaluator.close()
    followed = run.config.robot.exploration.model_copy(update={"follow_rewards": True})
    assert Acting.with_rewards(followed) == Acting("step", 0.25, follows_rewards=True)
    assert Acting.like_the_robot(followed) == Acting("step", 0.25)
    mean = run.config.model_copy(update={"evaluation": Evaluation(action_noise=0.0)})
    evaluator = Evaluator.of(mean, run.family, run.dataset.test_tasks)
    assert evaluator.exploring == Acting("step", 0.0)
    evaluator.close()
    torch.manual_seed(0)
    agent = untrained(run).agent
    contexts = []
    for noise in (0.0, 0.25):
        one = Evaluator(short_family, run.dataset.test_tasks, Evaluation(), Acting(noise=noise))
        contexts.append(one.online(agent, 0, only=2).acted[0].embeddings)
        one.close()
    assert not np.allclose(*contexts)


@pytest.fixture
def inference(run, agent):
    particles = offline_particles(agent, offline_replay(run, agent), run.family.horizon, 0)
    return ByLikelihood(agent, replace(particles, reward_variance=0.01))


def test_by_likelihood_each_exploration_follows_what_those_before_it_said(
    evaluator, inference, monkeypatch
):
    begun, begin = [], ParticleActor.begin

    def watched(actor, rng):
        before = actor.effective_particles.mean()
        begin(actor, rng)
        begun.append((actor.acting.likeliest, before))

    monkeypatch.setattr(ParticleActor, "begin", watched)
    result = evaluator(context_episodes=2).online(inference, 0)
    assert result.curve.shape == (3, 2, 2)
    measured, explored = (
        [n for likeliest, n in begun if likeliest is one] for one in (True, False)
    )
    assert len(measured) == 4  # and once by what another task was told
    assert len(explored) == 2
    assert explored[0] == pytest.approx(1000)
    assert explored[1] < 900
    assert measured[3] == pytest.approx(measured[2])
    assert measured[2] < measured[1] < measured[0]
    assert explored == measured[:2]  # what explores next is what was measured


def test_exploration_may_follow_its_rewards(run, make_config, inference, agent, monkeypatch):
    """It goes on with the likeliest so far, and what it has seen counts once."""
    held = make_config("robot.exploration.z_hold=3")
    config = make_config("robot.exploration.z_hold=3", "robot.exploration.follow_rewards=true")
    evaluator = Evaluator.of(config, run.family, run.dataset.test_tasks)
    heeded, heed, seen, after = [], ParticleActor.heed, [], ParticleActor.after

    def watched(actor, *step):
        heed(actor, *step)
        likeliest = actor.known.log_likelihoods.argmax(dim=1)
        heeded.append((actor.z == actor.known.z[range(len(likeliest)), likeliest]).all())

    def learnt(actor, context):
        found = after(actor, context)
        seen.append(found.known.seen.tolist())
        return found

    monkeypatch.setattr(ParticleActor, "heed", watched)
    monkeypatch.setattr(ParticleActor, "after", learnt)
    followed = evaluator.online(inference, 0, only=2)
    steps = run.family.horizon
    assert len(heeded) == 2 * steps
    assert all(heeded)
    assert [set(each) for each in seen] == [{0}, {steps}, {2 * steps}]
    monkeypatch.setattr(LatentActor, "heed", lambda *_: pytest.fail("the paper's does not"))
    evaluator.online(agent, 0, only=2)
    evaluator.close()
    evaluator = Evaluator.of(held, run.family, run.dataset.test_tasks)
    assert not np.array_equal(evaluator.online(inference, 0, only=2).curve, followed.curve)
    assert len(heeded) == 2 * steps
    evaluator.close()


@pytest.mark.parametrize("which", ["encoder", "likelihood"])
def test_the_first_episode_follows_its_rewards(evaluator, agent, inference, which, monkeypatch):
    adaptive = agent if which == "encoder" else inference
    followed = evaluator().first_episode(adaptive, 0)
    assert followed.returns.shape == (2, 2)
    assert not np.array_equal(followed.embeddings[0, 0], followed.embeddings[1, 0])
    monkeypatch.setattr(LatentActor, "heed", lambda *_: None)
    monkeypatch.setattr(ParticleActor, "heed", lambda *_: None)
    assert not np.array_equal(evaluator().first_episode(adaptive, 0).returns, followed.returns)


@pytest.mark.parametrize("by", ["encoder", "likelihood"])
def test_a_number_does_not_depend_on_where_the_curve_ends(evaluator, agent, inference, by):
    adaptive = agent if by == "encoder" else inference
    long = evaluator(3).online(adaptive, 0)
    short = evaluator(2).online(adaptive, 0)
    np.testing.assert_array_equal(long.curve[:3], short.curve)
    (alone,) = evaluator(3).online(adaptive, 0, only=1).acted
    np.testing.assert_array_equal(alone.returns, long.curve[1])
    np.testing.assert_array_equal(long.quoted.embeddings, long.acted[2].embeddings)


def test_an_offline_context_is_as_long_as_two_episodes_however_long_the_curve(
    evaluator, agent, run
):
    data = held_out_replay(run, agent)
    returns = [evaluator(episodes).offline(agent, data, 0).returns for episodes in (2, 5)]
    np.testing.assert_array_equal(*returns)


def test_the_first_episode_is_followed_by_whoever_can(evaluator, agent):
    class Blind:
        """Acts as its agent does before anything is known, and heeds nothing."""

        normalisation = agent.normalisation

        def adapt(self, context, acting=MEAN_ACTION):
            inner = agent.adapt(context, acting)

            class Actor:
                embeddings, begin, act = inner.embeddings, inner.begin, inner.act

            return Actor()

    held = evaluator()
    followed, blind = held.first_episode(agent, 0), held.online(agent, 0).acted[0]
    assert held.first_episode(Blind(), 0) is None
    np.testing.assert_array_equal(held.online(Blind(), 0).acted[0].returns, blind.returns)
    assert not np.array_equal(followed.returns, blind.returns)
    assert followed.rewards.sum() == pytest.approx(followed.mean_return)
