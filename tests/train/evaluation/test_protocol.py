from __future__ import annotations

import numpy as np
import pytest
import torch

from fieldtune.train.agent.actor import Acting
from fieldtune.train.config import Evaluation
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.runs.replays import held_out_replay
from fieldtune.train.runs.untrained import untrained


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def agent(run):
    torch.manual_seed(0)
    return untrained(run).agent


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
    assert result.embeddings.shape == (2, repeats, 3)
    assert result.mean_return == result.curve[-1].mean()
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
        held.online(agent, 0).embeddings,
        held.offline(agent, held_out_replay(run, agent), 0).embeddings,
    ):
        assert len(np.unique(embeddings.reshape(-1, 3), axis=0)) == 4


def test_what_is_inferred_follows_from_the_rewards(evaluator, agent, run):
    """The same exploration, true rewards of another task: another posterior."""
    here = evaluator().online(agent, 0)
    other = Evaluator(run.family, run.dataset.test_tasks + 1.0, Evaluation(repeats=2), Acting())
    there = other.online(agent, 0)
    other.close()
    assert not np.allclose(here.embeddings, there.embeddings)


def test_exploration_at_test_is_as_noisy_as_the_robots(make_run, short_family):
    run = make_run("robot.exploration.action_noise=0.25", "robot.exploration.z_hold=step")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    assert evaluator.exploring == Acting("step", 0.25)
    evaluator.close()
    torch.manual_seed(0)
    agent = untrained(run).agent
    contexts = []
    for noise in (0.0, 0.25):
        one = Evaluator(short_family, run.dataset.test_tasks, Evaluation(), Acting(noise=noise))
        contexts.append(one.online(agent, 0, curve=False).embeddings)
        one.close()
    assert not np.allclose(*contexts)
