"""BOReL: what beliefs minimise, that they follow steps alone, and that behaviour learns on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from fieldtune.settings import ConfigError
from fieldtune.train.agent.actor import Acting, HeedingActor
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.squashed_gaussian import sample_with_log_prob
from fieldtune.train.agent.trials import adapt_to, run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.borel import BeliefActor, Borel, BorelSettings
from fieldtune.train.algorithms.varibad import at, drawn, kl_to_previous
from fieldtune.train.collecting.collect import collect
from fieldtune.train.config import Networks
from fieldtune.train.data.replay import Replay
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.capabilities import require_exportable
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.untrained import untrained

CONFIG = Path(__file__).parents[3] / "configs" / "point-goal.yaml"
LENGTHS = (6, 4, 5)  # steps of the trials that belong to them


@pytest.fixture
def make(make_learner):
    """`make(bodies=False, sparse=False, **settings)`: a small learner, the same weights always."""
    known = make_learner().normalisation

    def of(bodies=False, sparse=False, **changes):
        widths = Networks(encoder=(5, 8), policy=(8,), critic=(8,), decoder=(8,), dynamics=(8,))
        small = {"latent_size": 2, "networks": widths, "batch": 8, "trials": 1, "embedding": 4}
        torch.manual_seed(0)
        shape = Shape(3, 2, next_in_context=bodies, sparse_reward=sparse)
        return Borel.fresh(shape, known, BorelSettings(**(small | changes)), 1e-3)

    return of


@pytest.fixture
def trials(make_batch):
    """Three trials of six steps, of which two are filled up."""
    counted = (torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)).float()
    return make_batch(rows=6)._replace(counted=counted)


def weights(learner, part=""):
    found = [p.detach().flatten() for n, p in learner.networks.named_parameters() if part in n]
    return torch.cat(found)


def test_each_belief_is_held_to_the_one_before_and_the_first_to_the_prior(make, trials):
    encoder = make().networks.encoder
    mean, variance = encoder.beliefs(trials)
    assert mean.shape == (3, 7, 2)
    found = kl_to_previous(mean, variance, trials.counted)
    for trial, length in enumerate(LENGTHS):
        expected, before = 0.0, Normal(torch.zeros(2), torch.ones(2))
        for t in range(length + 1):
            belief = Normal(mean[trial, t], variance[trial, t].sqrt())
            expected += kl_divergence(belief, before).sum()
            before = belief
        torch.testing.assert_close(found[trial], expected)


@pytest.mark.parametrize("sparse", [False, True])
def test_every_belief_reconstructs_past_and_future_steps(make, trials, sparse):
    decoder = make(bodies=True, sparse=sparse).networks.decoder
    m = torch.randn(3, 2, 2)
    left = decoder.unexplained(trials, m)
    errors, moved, changes = [], [], []
    for trial in range(3):
        for belief in range(2):
            for step in range(6):
                s, a, r, reached = (column[trial, step] for column in trials[:4])
                said = decoder.reward(torch.cat([s, reached]), a, m[trial, belief]).squeeze()
                if sparse:
                    success = (1.5 * r - 3.0 + 1.0).clamp(0, 1)  # in the family's units, plus 1
                    chance = torch.sigmoid(said)
                    errors.append(-success * chance.log() - (1 - success) * (1 - chance).log())
                else:
                    errors.append((said - r) ** 2)
                moved.append(decoder.dynamics(s, a, m[trial, belief]))
                changes.append(reached - s)
    torch.testing.assert_close(left.reward, torch.stack(errors).mean())
    moved, changes = torch.stack(moved), torch.stack(changes)
    share = (moved - changes).square().mean(dim=0) / changes.var(dim=0, correction=0)
    torch.testing.assert_close(left.dynamics, share.mean())


def test_what_is_drawn_of_a_trial_is_its_own(trials):
    places = drawn(trials.counted, 4)
    assert places.shape == (3, 4)
    seen = torch.cat([drawn(trials.counted, 6) for _ in range(50)], dim=1)
    assert [set(row.tolist()) for row in seen] == [set(range(n)) for n in LENGTHS]
    picked = at(trials.reward, places)
    assert picked[2, 1] == trials.reward[2, places[2, 1]]
    assert at(trials.action, places)[1, 3].equal(trials.action[1, places[1, 3]])


def test_a_belief_by_steps_is_that_over_the_whole_trial(make, trials):
    encoder = make().networks.encoder
    mean, variance = encoder.beliefs(trials)
    memory = encoder.nothing(3)
    for step in range(6):
        one = trials._replace(counted=None).each(lambda column, n=step: column[:, n : n + 1])
        memory = encoder.memories(one, memory)[:, -1]
        stepped = encoder.belief(memory)
        torch.testing.assert_close(stepped, (mean[:, step + 1], variance[:, step + 1]))


def test_a_belief_ignores_what_comes_after_it_and_follows_a_r_and_the_next_state(make, trials):
    encoder = make().networks.encoder
    mean, _ = encoder.beliefs(trials)
    for name in ("action", "reward", "next_observation"):
        changed = getattr(trials, name).clone()
        changed[:, 3] += 0.5
        other, _ = encoder.beliefs(trials._replace(**{name: changed}))
        assert torch.equal(other[:, :4], mean[:, :4])  # before steps 0 to 3 and after none of them
        assert (other[:, 4] - mean[:, 4]).abs().min() > 0
    still = trials._replace(observation=trials.observation + 1.0)
    assert torch.equal(encoder.beliefs(still)[0], mean)


def test_rows_have_the_beliefs_before_and_after_their_own_step(make, trials):
    learner = make()
    mean, variance = learner.networks.encoder.beliefs(trials)
    known = torch.cat([mean, variance.log()], dim=-1).detach()
    rows, before, after = learner.rows(trials)
    assert rows.reward.shape == (18,)  # as many draws of each trial as it is long
    assert not before.requires_grad
    for reward, b, b_next in zip(rows.reward, before, after, strict=True):
        ((trial, step),) = (trials.reward == reward).nonzero().tolist()
        assert step < LENGTHS[trial]
        assert torch.equal(b, known[trial, step])
        assert torch.equal(b_next, known[trial, step + 1])


def test_critics_learn_the_soft_target_of_the_next_belief(make, trials):
    learner = make(reward_scale=2.0, discount=0.8, entropy_coefficient=0.3)
    networks, (rows, b, b_next) = learner.networks, learner.rows(trials)
    torch.manual_seed(1)
    with torch.no_grad():
        action, log_prob = sample_with_log_prob(*networks.policy(rows.next_observation, b_next))
        errors = []
        for n in range(len(rows.reward)):
            reached = rows.next_observation[n], action[n], b_next[n]
            value = min(q(*reached) for q in networks.targets) - 0.3 * log_prob[n]
            paid = 2.0 * (rows.reward[n] * 1.5 - 3.0) / 1.5  # in the family's units, over their std
            target = paid + 0.8 * (1 - rows.done[n]) * value
            here = rows.observation[n], rows.action[n], b[n]
            errors.append(sum((q(*here) - target) ** 2 for q in networks.critics))
    torch.manual_seed(1)
    found = learner._critic_step(rows, b, b_next)
    torch.testing.assert_close(found["critic/loss"], torch.stack(errors).mean())


def test_belief_and_behaviour_learn_apart(make, trials):
    one = make()
    parts = {part: weights(one, part) for part in ("coder", "critics", "policy", "targets")}
    one._belief_step(trials)
    for part, before in parts.items():
        assert torch.equal(weights(one, part), before) == (part != "coder")
    two = make()
    rows, b, b_next = two.rows(trials)
    two._critic_step(rows, b, b_next)
    two._actor_step(rows.observation, b)
    for part, before in parts.items():
        assert torch.equal(weights(two, part), before) == (part not in ("critics", "policy"))


def test_what_fills_a_trial_up_is_not_believed(make, trials):
    learner = make()
    other = trials._replace(reward=trials.reward + 3.0 * (1 - trials.counted))
    each = [
        trials._replace(counted=None).each(lambda column, n=n: column[n : n + 1, : LENGTHS[n]])
        for n in range(3)
    ]
    known = learner.adapt([trials]).embeddings
    np.testing.assert_array_equal(learner.adapt([other]).embeddings, known)
    np.testing.assert_allclose(learner.adapt(each).embeddings, known, atol=1e-6)
    assert learner.adapt(each)._memory.shape == (3, 8)


OWN = {
    "embedding": 3,
    "trials": 1,
    "episodes": 1,
    "elbo_terms": 2,
    "decoded": 3,
    "belief_kl_weight": 3.0,
    "entropy_coefficient": 1.0,
    "target_rate": 0.5,
    "reward_scale": 3.0,
    "discount": 0.3,
    "batch": 4,
}


def learned(run):
    return weights(train_offline(run, name="borel", until=2))


def test_each_key_changes_what_is_learned(make_run):
    plain = learned(make_run(folder="plain"))
    for key, value in OWN.items():
        changed = learned(make_run(f"methods.borel.{key}={value}", folder=key))
        assert plain.shape != changed.shape or not torch.equal(plain, changed), key


def test_targets_of_several_steps_are_refused(make_config):
    with pytest.raises(ConfigError, match=r"'methods\.borel\.n_step' is 3: expected 1"):
        make_config("methods.borel.n_step=3")


def test_a_run_that_was_stopped_goes_on_bit_for_bit(make_run):
    whole = weights(train_offline(make_run(folder="whole"), name="borel"))
    stopped = make_run(folder="stopped")
    assert not torch.equal(weights(train_offline(stopped, name="borel", until=3)), whole)
    assert torch.equal(weights(train_offline(stopped, name="borel")), whole)


@pytest.fixture
def untaught(run):
    torch.manual_seed(0)
    return untrained(as_method(run, "borel"))


def test_an_actor_that_always_heeds_ends_with_the_belief_of_its_own_episode(
    untaught, short_family, run
):
    actor = adapt_to(untaught, [[], []], Acting())
    assert isinstance(actor, HeedingActor)
    simulator = short_family.simulator(2)
    nothing = actor.embeddings
    seeds = np.arange(2, dtype=np.int64)
    episodes = run_episodes(actor, short_family, simulator, seeds, run.dataset.test_tasks)
    simulator.close()
    context = [context_of(untaught, [episode]) for episode in episodes]
    np.testing.assert_allclose(actor.embeddings, untaught.adapt(context).embeddings, atol=1e-5)
    assert not np.allclose(actor.embeddings, nothing)


def test_own_exploration_goes_on_from_what_was_seen(untaught, run, monkeypatch):
    begun = []
    monkeypatch.setattr(
        BeliefActor, "begin", lambda actor, _: begun.append(actor.embeddings.copy())
    )
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    found = evaluator.online(untaught, 0)
    first = evaluator.first_episode(untaught, 0)
    evaluator.close()
    *curve, swapped, _ = begun
    measured, explored = curve[::2], curve[1::2]
    assert len(measured) == len(found.acted) == 3
    for one, other in zip(explored, measured, strict=False):  # what is measured explores next
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(swapped, measured[2][[2, 3, 0, 1]])  # of two tasks, twice each
    assert not np.allclose(measured[0], measured[1])
    assert not np.allclose(measured[1], measured[2])
    np.testing.assert_array_equal(first.returns, found.acted[0].returns)


def test_offline_contexts_are_of_whole_episodes(untaught, run, monkeypatch):
    monkeypatch.setattr(Replay, "context", None)
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    found = evaluator.offline(untaught, held_out_replay(run, untaught), 0)
    evaluator.close()
    assert found.returns.shape == (2, 2)


def test_export_says_why_not(untaught, run):
    with pytest.raises(RunError, match="'borel' cannot be exported: its policy acts on the memory"):
        require_exportable(as_method(run, "borel"), untaught)


@pytest.fixture
def point_goal(tmp_path):
    """`point_goal(*overrides)`: a run of the point robot on data of its own."""

    def make(*overrides):
        quick = ("workers=1", "tracker=none", "device=cpu", "evaluation.repeats=2", *overrides)
        config = load_config(CONFIG, overrides=[f"data.path={tmp_path / 'data'}", *quick])
        collect(config)
        return open_run(config, tmp_path / "run")

    return make


def test_a_belief_learns_to_tell_the_rewards_of_tasks_it_never_saw(point_goal):
    run = point_goal("data.episodes_per_task=8", "methods.borel.learning_rate=3.0e-3")
    torch.manual_seed(0)
    learner, rng = untrained(as_method(run, "borel")), np.random.default_rng(0)
    replay, held_out = offline_replay(run, learner), held_out_replay(run, learner)
    known, every = replay.tasks_with_data, held_out.tasks_with_data
    for _ in range(200):
        tasks = [int(task) for task in rng.choice(known, size=16)]
        learner._belief_step(replay.episodes(rng, tasks, 2))
    trials = held_out.episodes(rng, every, 2)
    with torch.no_grad():
        mean, _ = learner.networks.encoder.beliefs(trials)
        nothing, seen = (
            learner.networks.decoder.unexplained(trials, mean[:, t : t + 1]).reward for t in (0, 10)
        )
    assert seen < 0.5 * nothing


@pytest.mark.slow
def test_it_finds_goals_within_its_first_episode_and_better_after_others(point_goal):
    """Random actions return −20.3; SMAC by its encoder −13.4 in its first episode."""
    run = point_goal("offline.updates=1200", "evaluation.context_episodes=1")
    borel = train_offline(run, name="borel")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    first, second = (one.mean_return for one in evaluator.online(borel, 0).acted)
    offline = evaluator.offline(borel, held_out_replay(run, borel), 0).mean_return
    evaluator.close()
    assert first > -14.0
    assert second > first + 1.0
    assert offline > first + 2.0
