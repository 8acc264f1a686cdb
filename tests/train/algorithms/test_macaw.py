"""MACAW: losses and gradients beside plain, slow ones, adaptation, and what a run of it can do."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.macaw import AdaptationDiverged, Macaw, MacawSettings
from fieldtune.train.algorithms.weight_transform import layers
from fieldtune.train.cli.app import app
from fieldtune.train.collecting.collect import collect
from fieldtune.train.config import Networks
from fieldtune.train.data.replay import Ahead
from fieldtune.train.data.subsample import thinned
from fieldtune.train.evaluation.measure import measure
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.trained import after_offline
from fieldtune.train.runs.untrained import untrained

CONFIG = Path(__file__).parents[3] / "configs" / "point-goal.yaml"
NARROW = Networks(policy=(5,), critic=(4,))


@pytest.fixture
def make(make_learner):
    """`make(**settings)`: float64 and tiny; three observed numbers, two actions."""
    known = make_learner().agent.normalisation

    def of(**changes):
        torch.manual_seed(0)
        settings = MacawSettings(**({"networks": NARROW, "code_size": 3} | changes))
        learner = Macaw.fresh(Shape(3, 2, False), known, settings, 1e-3)
        learner.networks.double()
        return learner

    return of


@pytest.fixture
def ends(make_batch):
    """`ends(seed, rows=5)`: a batch that looks to its ends, float64."""

    def of(seed, rows=5):
        batch, other = make_batch(seed, rows=rows), make_batch(seed + 50, rows=rows)
        left = torch.rand(3, rows, generator=torch.Generator().manual_seed(seed))
        to_end = Ahead(other.reward, other.observation, other.done, left)
        return batch._replace(to_end=to_end).each(lambda column: column.double())

    return of


def of(net):
    return list(net.layers)


def own(weights, task):
    """One task's weights, as a batch of one."""
    return [layer[task : task + 1] for layer in weights]


def test_each_loss_is_the_papers_row_by_row(make, ends):
    learner, rows = make(discount=0.8, temperature=2.0, clip=1.5), ends(1)
    value = learner.adapted_value(rows, differentiable=False)
    policy = learner.adapted_policy(rows, value, differentiable=False)
    advantages = learner.advantages(value, rows)
    found = (
        learner.value_loss(value, rows),
        learner.awr_loss(policy, rows, advantages),
        learner.advantage_loss(policy, rows, advantages),
    )
    known, clipped = learner.normalisation, 0
    for task in range(3):
        v, theta = own(value, task), own(policy, task)
        plain, gained, heads, nats = 0.0, [], [], []
        for row in range(5):
            s, a = rows.observation[task, row][None, None], rows.action[task, row][None, None]
            total, reached, done, left = (column[task, row] for column in rows.to_end)
            estimate = float(learner.networks.value(v, s))
            beyond = float(learner.networks.value(v, reached[None, None]))
            zero = -known.reward_mean / known.reward_std
            inner = float(0.2 * total + left * (zero if done else 0.0))
            outer = float(0.2 * total + left * (zero if done else beyond))
            plain += (estimate - inner) ** 2 / 5
            gained.append(outer - estimate)
            heads.append(float(learner.networks.policy.advantage(theta, s, a)))
            normal = torch.distributions.Normal(learner.networks.policy(theta, s), 0.2)
            nats.append(-float(normal.log_prob(a).sum()))
        standard = (np.array(gained) - np.mean(gained)) / np.std(gained)
        weight = np.minimum(np.exp(standard / 2.0), 1.5)
        clipped += int((weight == 1.5).sum())
        assert float(found[0][task]) == pytest.approx(plain)
        assert float(found[1][task]) == pytest.approx(np.mean(weight * nats))
        assert float(found[2][task]) == pytest.approx(np.mean(np.subtract(heads, gained) ** 2))
    assert 0 < clipped < 15


def test_what_follows_a_time_limit_is_worth_the_datas_mean_or_what_v_says(make, ends):
    rows = ends(2)
    limit = rows.to_end.done == 0
    for bootstrap in (False, True):
        learner = make(bootstrap=bootstrap)
        value = learner.adapted_value(rows, differentiable=False)
        pure = learner.returns(rows) - learner.networks.value(value, rows.observation)
        same = torch.isclose(learner.advantages(value, rows), pure)
        assert same[~limit].all()
        assert bool(same[limit].all()) is not bootstrap


def test_a_constant_reward_is_worth_itself_whenever_the_episode_ends(make):
    """In V's units; after a terminal state a reward of 0 is paid for ever."""
    learner, r = make(discount=0.9), 0.7
    steps = torch.arange(1.0, 7.0).double()
    left = 0.9**steps
    total = r * (1 - left) / 0.1
    state = torch.zeros(6, 3).double()
    for done, beyond, expected in (
        (0.0, r, torch.full((6,), r).double()),
        (1.0, 5.0, r * (1 - left) + left * 3.0 / 1.5),  # mean −3, deviation 1.5
    ):
        to_end = Ahead(total, state, torch.full((6,), done).double(), left)
        rows = type("Rows", (), {"to_end": to_end})()
        torch.testing.assert_close(learner.returns(rows, beyond), expected)


def slowly_adapted(net, rates, loss, steps):
    """One task's weights, with every code, transform and offset stepped by autograd's gradients."""
    known = [[p.detach().clone() for p in layer.parameters()] for layer in of(net)]
    for _ in range(steps + 1):
        known = [[p.detach().requires_grad_() for p in layer] for layer in known]
        weights = [(transform @ code + offset)[None] for code, transform, offset in known]
        gradients = iter(torch.autograd.grad(loss(weights).sum(), [p for k in known for p in k]))
        known = [
            [p - rate * next(gradients) for p, rate in zip(layer, row, strict=True)]
            for layer, row in zip(known, rates, strict=True)
        ]
    return weights


@pytest.mark.parametrize("steps", [1, 3])
def test_adaptation_is_plain_gradient_descent_on_what_generates_the_layers(make, ends, steps):
    learner, rows = make(inner_steps=steps), ends(3)
    with torch.no_grad():
        for rates in (learner.networks.rates.value, learner.networks.rates.policy):
            rates.copy_(torch.linspace(-6, -4, rates.numel()).view_as(rates))
        for layer in (*of(learner.networks.value), *of(learner.networks.policy)):
            layer.code.mul_(5)  # so that a transform's own step matters
    value = learner.adapted_value(rows, differentiable=False)
    policy = learner.adapted_policy(rows, value, differentiable=False)
    advantages = learner.advantages(value, rows)
    rates = learner.networks.rates
    weight = F.softplus(rates.advantage.detach())
    for task in range(3):
        one = rows.each(lambda column, task=task: column[task : task + 1])
        gained = advantages[task : task + 1]
        slow = slowly_adapted(
            learner.networks.value,
            F.softplus(rates.value.detach()),
            lambda weights, one=one: learner.value_loss(weights, one),
            steps,
        )
        torch.testing.assert_close(own(value, task), [each.detach() for each in slow])
        slow = slowly_adapted(
            learner.networks.policy,
            F.softplus(rates.policy.detach()),
            lambda weights, one=one, gained=gained: (
                learner.awr_loss(weights, one, gained)
                + weight * learner.advantage_loss(weights, one, gained)
            ),
            steps,
        )
        torch.testing.assert_close(own(policy, task), [each.detach() for each in slow])
    assert not torch.allclose(value[0][0], value[0][1])


@pytest.mark.parametrize("steps", [1, 2])
def test_the_outer_gradient_is_that_of_finite_differences(make, ends, steps):
    """Of second order: through the steps of adaptation, by weights, by learning rates and by λ."""
    learner, context, batch = make(inner_steps=steps, bootstrap=False), ends(4), ends(5)
    networks, rates = learner.networks, learner.networks.rates
    with torch.no_grad():
        rates.value.fill_(-1.0)
        rates.policy.fill_(-3.0)
        rates.advantage.fill_(0.0)
    fixed = learner.adapted_value(context, differentiable=False)
    gained = learner.advantages(fixed, batch)

    def value_loss():
        adapted = learner.adapted_value(context, differentiable=True)
        return learner.value_loss(adapted, batch).mean()

    def policy_loss():
        adapted = learner.adapted_policy(context, fixed, differentiable=True)
        return learner.awr_loss(adapted, batch, gained).mean()

    for loss, learned in (
        (value_loss, [*networks.value.parameters(), rates.value]),
        (policy_loss, [*networks.policy.parameters(), rates.policy, rates.advantage]),
    ):
        gradients = torch.autograd.grad(loss(), learned)
        assert gradients[-1].abs().max() > 1e-6
        for parameter, gradient in zip(learned, gradients, strict=True):
            flat = parameter.data.view(-1)
            for place in {0, len(flat) // 2, len(flat) - 1}:
                kept, found = float(flat[place]), []
                for step in (1e-5, -1e-5):
                    flat[place] = kept + step
                    found.append(float(loss().detach()))
                flat[place] = kept
                expected = (found[0] - found[1]) / 2e-5
                assert float(gradient.view(-1)[place]) == pytest.approx(
                    expected, rel=1e-4, abs=1e-7
                )


def test_the_advantage_head_reaches_the_meta_gradient_though_the_outer_loss_has_none(make, ends):
    learner = make()
    before = copy.deepcopy(learner.networks.policy.state_dict())
    for seed in range(3):
        metrics = learner.update(ends(seed), ends(10 + seed))
    assert all(math.isfinite(float(value)) for value in metrics.values())
    after = learner.networks.policy.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_a_context_that_is_filled_up_adapts_as_a_shorter_one(make, ends):
    learner, rows = make(), ends(6, rows=9)
    counted = (torch.arange(9) < 4).double().expand(3, 9)
    short = rows.each(lambda column: column[:, :4])
    both = (rows._replace(counted=counted), short)
    values = [learner.adapted_value(each, differentiable=False) for each in both]
    torch.testing.assert_close(*values)
    policies = [learner.adapted_policy(each, values[0], differentiable=False) for each in both]
    torch.testing.assert_close(*policies)


def test_a_layer_begins_as_wide_as_a_plain_one_whatever_its_code():
    torch.manual_seed(0)
    for code in (1, 100):
        (layer,) = layers([64, 64], code)
        spread = layer.generated(layer.code[None])[0, :-64].std()
        assert spread.item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.15)


def test_precision_that_a_second_derivative_needs_is_not_given_away():
    with pytest.raises(ValueError, match="expected float32: the gradient of a gradient"):
        MacawSettings(precision="bfloat16")


@pytest.fixture
def macaw_run(make_run):
    return make_run("offline.checkpoint_every=2", "methods.macaw.code_size=4")


def test_a_run_that_is_stopped_and_resumed_has_the_same_weights(macaw_run, make_run, same):
    train_offline(macaw_run, name="macaw", until=2)
    resumed = train_offline(macaw_run, name="macaw")
    straight = train_offline(replace(macaw_run, folder=make_run(folder="2").folder), name="macaw")
    found = [dict(one.networks.state_dict()) for one in (resumed, straight)]
    assert same(*found)
    assert same(dict(after_offline(macaw_run, "macaw").networks.state_dict()), found[0])
    assert not same(dict(untrained(as_method(macaw_run, "macaw")).networks.state_dict()), found[0])


def test_it_adapts_each_copy_to_its_own_episodes_and_stays_as_it_is(macaw_run, same):
    learner = untrained(as_method(macaw_run, "macaw"))
    before = copy.deepcopy(dict(learner.networks.state_dict()))
    random = torch.get_rng_state()
    first, second = macaw_run.dataset.test[0]
    contexts = [[], [first], [first, second], [second], []]
    actor = learner.adapt([context_of(learner, each) for each in contexts])
    s = first.observations[:5]
    actor.begin(None)
    acted = actor.act(s, None)
    assert torch.equal(torch.get_rng_state(), random)
    assert same(dict(learner.networks.state_dict()), before)
    assert actor.embeddings.shape == (5, 0)
    for place, episodes in enumerate(contexts):
        alone = learner.adapt([context_of(learner, episodes)]).act(s[place : place + 1], None)
        np.testing.assert_allclose(acted[place : place + 1], alone, atol=1e-5)
    same_state = actor.act(np.repeat(s[:1], 5, axis=0), None)
    assert np.array_equal(same_state[0], same_state[4])
    assert not np.allclose(same_state[1], same_state[0], atol=1e-6)
    assert not np.allclose(same_state[1], same_state[3], atol=1e-6)
    noisy = learner.adapt([context_of(learner, [])], Acting(noise=1.0))
    assert not np.allclose(noisy.act(s[:1], None), noisy.act(s[:1], None))


def test_steps_that_leave_no_numbers_are_told_and_never_acted_by(macaw_run):
    learner = untrained(as_method(macaw_run, "macaw"))
    context = context_of(learner, list(macaw_run.dataset.test[0]))
    with torch.no_grad():
        learner.networks.rates.policy.fill_(1e30)
    with pytest.raises(AdaptationDiverged, match=r"macaw: 1 gradient steps .* policy_inner_rate"):
        learner.adapt([context])


def test_own_episodes_have_the_returns_that_the_data_have(macaw_run):
    learner = untrained(as_method(macaw_run, "macaw"))
    held = held_out_replay(macaw_run, learner)
    for task, episodes in enumerate(macaw_run.dataset.test):
        context = context_of(learner, episodes)
        known = held.context(np.random.default_rng(0), [task], len(context.reward[0]), None)
        order = [
            int((known.observation[0] == row).all(dim=1).nonzero()[0])
            for row in context.observation[0]
        ]
        for ours, theirs in zip(context.to_end, known.to_end, strict=True):
            torch.testing.assert_close(ours[0], theirs[0, order])
    assert context_of(learner, []).to_end is None


def test_returns_of_thinned_out_data_are_refused_with_the_cure(macaw_run):
    method = as_method(macaw_run, "macaw")
    learner, data = untrained(method), macaw_run.dataset
    every_second = [[thinned(e, np.arange(0, e.steps, 2)) for e in task] for task in data.train]
    run = replace(method, dataset=replace(data, train=every_second))
    with pytest.raises(RunError, match=r"'macaw' learns from Monte-Carlo returns.*--stride 1"):
        offline_replay(run, learner)


def test_it_finds_goals_by_what_it_is_told_of_a_task_and_export_says_why_not(tmp_path):
    config = load_config(
        CONFIG,
        overrides=[
            f"data.path={tmp_path / 'data'}",
            "workers=1",
            "data.episodes_per_task=8",
            "offline.updates=200",
            "evaluation.context_episodes=1",
            "evaluation.repeats=1",
        ],
    )
    collect(config)
    run = open_run(config, tmp_path / "run")
    learned, method = train_offline(run, name="macaw"), as_method(run, "macaw")
    evaluator = Evaluator.of(method.config, run.family, run.dataset.test_tasks)
    try:
        found = measure(method, evaluator, learned, 200, 0)
    finally:
        evaluator.close()
    assert found.likelihood is None
    assert not found.placed
    blind = np.mean(found.encoder.returns[0])
    assert np.mean(found.offline_returns) > max(blind, -20.3) + 3

    out = tmp_path / "macaw.bundle"
    arguments = ["export", "--run", str(run.folder), "--method", "macaw", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "'macaw' cannot be exported: it adapts by gradient steps on its own weights" in said
    assert not out.exists()
