from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.train.data.replay import Replay, Trajectory
from fieldtune.train.evaluation.measure import decoder_error, evaluate_run
from fieldtune.train.evaluation.results import (
    DecoderError,
    EvaluationError,
    load_evaluation,
    save_evaluation,
    write_metrics,
)
from fieldtune.train.evaluation.statistics import recovery
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.trained import after_offline, newest
from fieldtune.train.runs.untrained import untrained


@pytest.fixture
def trained(make_trained):
    """A run with all three phases."""
    run = make_trained("self_supervised.updates=3", "evaluation.repeats=1")
    train_in_process(run, run.finetune_checkpoint, true_rewards=False)
    train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    return run


def test_every_trained_phase_is_measured_with_the_same_seeds(trained):
    told = []
    found = evaluate_run(trained, lambda done, total: told.append((done, total)))
    assert list(found.phases) == ["before", "after", "oracle"]
    assert [(phase.updates, phase.steps) for phase in found.phases.values()] == [
        (6, 0),
        (3, 200),
        (3, 200),
    ]
    different = [phase.offline_embeddings for phase in found.phases.values()]
    assert different[0] != different[1] != different[2] != different[0]
    assert np.shape(found.phases["before"].encoder.returns) == (3, 2, 1)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert (found.family, found.seed, found.scripted) == ("cheetah-vel", 0, None)
    assert np.isfinite(found.random)
    assert evaluate_run(trained) == found


def test_every_phase_is_measured_by_both_inferences(trained):
    found = evaluate_run(trained)
    for name, phase in found.phases.items():
        both = dict(phase.inferences)
        assert list(both) == ["encoder", "likelihood"]
        for adapted in both.values():
            assert np.shape(adapted.returns) == (3, 2, 1)
            first = adapted.first_episode
            assert np.shape(first.returns) == (2, 1)
            assert first.returns != adapted.returns[0]
            assert np.sum(first.rewards) == pytest.approx(np.mean(first.returns))
            assert len(first.rewards) == trained.family.horizon
            assert adapted.successes is first.successes is None  # a family without success
        encoder, likelihood = both.values()
        assert likelihood.returns != encoder.returns
        assert encoder.effective_particles is encoder.unlike is None
        assert likelihood.effective_particles[0] == pytest.approx(1000)
        assert likelihood.effective_particles[2] < 1000
        assert likelihood.unlike[0] == 0
        assert found.returns[f"likelihood_{name}"] == np.mean(likelihood.returns[2])
        assert found.returns[f"first_episode_{name}"] == np.mean(likelihood.first_episode.returns)


def test_phases_that_were_not_trained_are_left_out(make_trained):
    found = evaluate_run(make_trained("evaluation.repeats=1"))
    assert list(found.phases) == ["before"]
    assert found.returns["online_after"] is None
    assert found.returns["oracle"] is None
    assert recovery(found) is None


def test_nothing_trained_is_nothing_to_measure(make_run):
    with pytest.raises(EvaluationError, match="nothing trained yet; run `fieldtune train` first"):
        evaluate_run(make_run())


def test_the_newest_agent_is_the_averaged_one_of_phase_two(trained, make_trained, same):
    found, phase, updates = newest(trained)
    assert (phase, updates) == ("self-supervised", 3)
    first = after_offline(trained).networks.state_dict()
    assert not same(dict(found.networks.state_dict()), dict(first))
    assert newest(make_trained(folder="offline only"))[1:] == ("offline", 6)


def test_the_decoders_error_is_in_the_familys_units(make_run):
    run = make_run()
    agent = untrained(run).agent
    with torch.no_grad():
        for parameter in agent.decoder.parameters():
            parameter.zero_()
    found = decoder_error(agent, held_out_replay(run, agent), seed=0)
    rewards = np.concatenate([e.rewards for task in run.dataset.test for e in task])
    off = np.sqrt(np.mean((rewards - agent.normalisation.reward_mean) ** 2))
    assert found.root_mean_square == pytest.approx(off, rel=0.2)
    assert found.explained == pytest.approx(1 - off**2 / rewards.var(), abs=0.5)
    assert decoder_error(agent, held_out_replay(run, agent), seed=0) == found
    assert found.trained is None
    data = held_out_replay(run, agent)
    both = decoder_error(agent, data, seed=0, trained=offline_replay(run, agent))
    assert both == replace(found, trained=both.trained)
    assert decoder_error(agent, data, seed=0, trained=data).trained == found.explained


@pytest.mark.parametrize(
    ("explained", "trained", "by_heart"),
    [
        (0.29, 0.87, True),
        (0.83, 0.88, False),
        (0.92, 0.99, False),
        (-0.5, 0.1, False),  # nor are those that it was trained on
        (0.1, None, False),
    ],
)
def test_rewards_are_learned_by_heart_where_twice_as_much_is_left_of_unseen_tasks(
    explained, trained, by_heart
):
    assert DecoderError(0.1, explained, trained=trained).by_heart == by_heart


def test_what_z_says_of_a_body_is_what_its_own_z_explains_beyond_anothers(make_learner):
    rng = np.random.default_rng(0)
    bodies = Replay(tasks=2, capacity=4000, observation=3, action=2)
    for task, drift in enumerate((-1.0, 1.0)):
        seen = rng.normal(size=(2001, 3)).astype(np.float32)
        led_to = seen[:-1] + np.float32(drift)
        actions = rng.uniform(-1, 1, (2000, 2)).astype(np.float32)
        bodies.add(task, Trajectory(seen, actions, seen[:-1, 0], False, led_to))
    torch.manual_seed(0)
    learner = make_learner(next_in_context=True, kl_weight=0.001, learning_rate=1e-2)
    blind = decoder_error(learner.agent, bodies, seed=0).dynamics
    for _ in range(200):
        context = bodies.context(rng, [0, 1], 8, trajectories=None)
        learner.update(context, bodies.transitions(rng, [0, 1], 16))
    seeing = decoder_error(learner.agent, bodies, seed=0).dynamics
    assert seeing.own > 0.8 > seeing.other + 0.3
    assert abs(blind.own - blind.other) < 0.3
    assert decoder_error(make_learner().agent, bodies, seed=0).dynamics is None


def test_an_evaluation_is_saved_and_loaded_whole(make_evaluation, tmp_path):
    evaluation = make_evaluation(after=None, scripted=None)
    save_evaluation(tmp_path / "evaluation.json", evaluation)
    assert load_evaluation(tmp_path / "evaluation.json") == evaluation


@pytest.mark.parametrize("text", [None, "", "{", '{"family": "reach"}', "[1]"])
def test_what_is_no_evaluation_of_this_version_is_named_with_the_cure(tmp_path, text):
    path = tmp_path / "evaluation.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EvaluationError, match="not an evaluation of this version") as error:
        load_evaluation(path)
    assert f"`fieldtune evaluate --run {tmp_path}`" in str(error.value)


def test_tables_quote_two_episodes_of_a_longer_curve(make_evaluation):
    evaluation = make_evaluation()
    after = evaluation.phases["after"].encoder
    assert len(after.returns) == 4
    assert after.quoted == 2
    assert evaluation.returns["online_after"] == np.mean(after.returns[2])
    short = replace(after, returns=after.returns[:2])
    assert short.quoted == 1
    assert short.mean_return == np.mean(after.returns[1])


def test_metrics_have_exactly_the_keys_that_other_programs_expect(make_evaluation, tmp_path):
    evaluation = make_evaluation()
    extra = {
        "reward_free_steps": 20_000,
        "bundles_published": 9,
        "bundles_swapped": 7,
        "wall_seconds": 800.5,
    }
    write_metrics(tmp_path / "metrics.json", evaluation, extra)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert list(found) == ["family", "seed", "context_episodes", "return", "curves", *extra]
    assert list(found["return"]) == [
        "offline_context",
        "online_before",
        "online_after",
        "oracle",
        "likelihood_before",
        "likelihood_after",
        "likelihood_oracle",
        "first_episode_before",
        "first_episode_after",
        "first_episode_oracle",
        "random",
        "scripted",
    ]
    assert found["return"] == evaluation.returns
    assert found["bundles_swapped"] == 7
    assert found["context_episodes"] == 2
    curve = found["curves"]["after"]["likelihood"]
    assert curve["return"][2] == pytest.approx(found["return"]["likelihood_after"])
    assert curve["first_episode"] == found["return"]["first_episode_after"]
    assert len(curve["return"]) == len(found["curves"]["after"]["encoder"]["return"]) == 4
