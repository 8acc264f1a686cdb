"""The learner of FOCAL, CSRO and UNICORN: each loss against a plain version, and what it trains."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from fieldtune.train.algorithms.behaviour_regularised import gaussian_kl
from fieldtune.train.algorithms.csro import Csro, CsroSettings
from fieldtune.train.algorithms.focal import Focal, FocalSettings
from fieldtune.train.algorithms.unicorn import Unicorn, UnicornSettings
from fieldtune.train.config import Networks

KINDS = {
    "focal": (Focal, FocalSettings),
    "csro": (Csro, CsroSettings),
    "unicorn": (Unicorn, UnicornSettings),
}
ACTING = {"q1", "q2", "q1_target", "q2_target", "policy", "behaviour", "penalty"}
NARROW = Networks(encoder=(8,), policy=(8,), critic=(8,), decoder=(8,), dynamics=(8,))


@pytest.fixture
def make(make_learner):
    """`make(name, next_in_context=False, **settings)`: a fresh one of tiny networks."""

    def of(name, next_in_context=False, **changes):
        kind, section = KINDS[name]
        known = make_learner(next_in_context=next_in_context).agent
        settings = section(**({"latent_size": 2, "networks": NARROW} | changes))
        torch.manual_seed(0)
        return kind.fresh(known.shape, known.normalisation, settings, settings.learning_rate)

    return of


def changed(learner, before, same):
    after = {name: net.state_dict() for name, net in learner.agent.named_children()}
    return {name for name in after if not same(before[name], after[name])}


@pytest.mark.parametrize(
    ("name", "inferring"),
    [("focal", {"encoder"}), ("csro", {"encoder", "guess"}), ("unicorn", {"encoder", "decoder"})],
)
def test_an_update_trains_the_methods_networks_and_acting_trains_no_inference(
    make, make_batch, state, same, name, inferring
):
    learner = make(name)
    before = state(learner)["networks"]
    learner.act_better(make_batch(1), torch.randn(3, 2))
    assert changed(learner, before, same) == ACTING
    before = state(learner)["networks"]
    learner.update(make_batch(2, rows=7), make_batch(3))
    assert changed(learner, before, same) == ACTING | inferring


def test_where_bodies_differ_unicorn_decodes_what_follows_too(make, make_batch, state, same):
    learner = make("unicorn", next_in_context=True)
    before = state(learner)["networks"]
    metrics = learner.update(make_batch(2, rows=7), make_batch(3))
    assert "dynamics" in changed(learner, before, same)
    assert metrics["dynamics/unexplained"] > 0


def test_the_divergence_is_that_of_the_gaussians_before_squashing():
    torch.manual_seed(0)
    mean, other, log_std, other_log_std = torch.randn(4, 5, 3)
    one, two = Normal(mean, log_std.exp()), Normal(other, other_log_std.exp())
    found = gaussian_kl(mean, log_std, other, other_log_std)
    torch.testing.assert_close(found, kl_divergence(one, two).sum(dim=-1))


def test_one_step_of_critics_and_actor_by_hand(make, make_batch):
    """Row by row, with the same noise: the value penalty in the target, and in the actor's loss."""
    learner = make("focal", penalty=0.7, discount=0.8, divergence=0.1, reward_scale=2.0)
    batch, z = make_batch(5, rows=4), torch.randn(3, 2)
    plain = copy.deepcopy(learner)
    torch.manual_seed(3)
    metrics = learner.act_better(batch, z)

    agent, rows = plain.agent, batch.each(lambda column: column.flatten(0, 1))
    every = z.repeat_interleave(4, dim=0)
    plain._behaviour_step(rows, every)
    torch.manual_seed(3)

    def gaussians(s, z):
        found = [[each.double() for each in net(s, z)] for net in (agent.policy, agent.behaviour)]
        ours, data = (Normal(mean, log_std.exp()) for mean, log_std in found)
        return ours, kl_divergence(ours, data).sum(dim=-1)

    loss = 0.0
    with torch.no_grad():
        ours, apart = gaussians(rows.next_observation, every)
        a_next = torch.tanh(ours.mean + ours.stddev * torch.randn(12, 2).double()).float()
        for i in range(12):
            one = rows.next_observation[i], a_next[i], every[i]
            value = min(float(agent.q1_target(*one)), float(agent.q2_target(*one)))
            paid = 2.0 * float(agent.critic_reward(rows.reward[i]))
            ahead = 0.8 * (1 - float(rows.done[i])) * (value - 0.7 * float(apart[i]))
            seen = rows.observation[i], rows.action[i], every[i]
            for q in (agent.q1, agent.q2):
                loss += (float(q(*seen)) - paid - ahead) ** 2 / 12
    assert metrics["critic/loss"].item() == pytest.approx(loss, rel=1e-5)

    torch.manual_seed(3)
    plain._critic_step(rows, every)
    with torch.no_grad():
        ours, apart = gaussians(rows.observation, every)
        drawn = torch.tanh(ours.mean + ours.stddev * torch.randn(12, 2).double()).float()
        best = torch.min(
            agent.q1(rows.observation, drawn, every), agent.q2(rows.observation, drawn, every)
        )
        expected = float((0.7 * apart - best.double()).mean())
    assert metrics["actor/loss"].item() == pytest.approx(expected, rel=1e-5)
    assert metrics["actor/divergence"].item() == pytest.approx(float(apart.mean()), rel=1e-5)
    assert metrics["actor/penalty"].item() == pytest.approx(0.7)


@pytest.mark.parametrize(("allowed", "way"), [(1e-6, 1), (1e6, -1)])
def test_a_nat_costs_more_while_the_policy_is_too_far_off_and_less_while_it_is_near(
    make, make_batch, allowed, way
):
    learner = make("focal", divergence=allowed, penalty=2.0)
    for seed in range(5):
        learner.act_better(make_batch(seed), torch.randn(3, 2))
    assert math.copysign(1, learner.agent.penalty().item() - 2.0) == way


def test_a_tight_bound_keeps_the_policy_at_the_datas(make, make_batch):
    """The critic sees a reward for large actions; the data's policy has small ones."""

    def far(allowed):
        learner = make("focal", divergence=allowed, penalty=1.0, learning_rate=1e-2)
        torch.manual_seed(0)
        for seed in range(150):
            batch = make_batch(seed, rows=16, done=1.0)
            action = 0.1 * torch.randn_like(batch.action)
            batch = batch._replace(action=action, reward=5.0 * action[..., 0])
            learner.act_better(batch, torch.zeros(3, 2))
        with torch.no_grad():
            mean, _ = learner.agent.policy(torch.zeros(1, 3), torch.zeros(1, 2))
        return float(torch.tanh(mean)[0, 0])

    assert far(0.01) < 0.15 < far(5.0)


def test_a_task_twice_in_a_meta_batch_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"expected false: the embeddings .* pushed apart"):
        FocalSettings(repeat_tasks=True)
