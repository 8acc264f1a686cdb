"""What each phase's update changes and what it leaves alone, and its numbers worked out by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.squashed_gaussian import squashed_sample
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.smac import Advantage
from fieldtune.train.config import Networks, SelfSupervised
from fieldtune.train.data.replay import Ahead, Batch
from fieldtune.train.runs.readings import numbers

CRITICS = {"q1", "q2"}
TARGETS = {"q1_target", "q2_target"}
ALL = CRITICS | TARGETS | {"policy", "encoder", "decoder"}


@pytest.fixture
def update(make_learner, make_batch, state, same):
    """`update(phase=None, ...)`: one update of a fresh learner; phase 1 where no phase is given.

    Gives the learner, its metrics, its networks' weights, and the names of those that changed.
    """

    def run(phase=None, done=None, true_rewards=False, updates=1, **settings):
        learner = make_learner(**settings)
        before = state(learner)["networks"]
        torch.manual_seed(1)
        for seed in range(updates):
            context, batch = make_batch(10 + seed, rows=7), make_batch(20 + seed, done=done)
            if phase is None:
                metrics = learner.update(context, batch)
            else:
                metrics = learner.self_supervised_update(
                    context, batch, phase, true_rewards=true_rewards
                )
        after = state(learner)["networks"]
        changed = {name for name in after if not same(before[name], after[name])}
        return learner, numbers(metrics), after, changed

    return run


def ours(**changes):
    return SelfSupervised(**changes)


def differing(same, one, other):
    return {name for name in one if not same(one[name], other[name])}


def test_offline_every_network_learns(update):
    assert update()[3] == ALL
    assert update(next_in_context=True)[3] == ALL | {"dynamics"}


@pytest.mark.parametrize(
    ("phase", "true_rewards", "kept"),
    [
        (ours(), False, {"decoder"}),
        (ours(encoder="frozen"), False, {"encoder", "decoder"}),
        (ours(), True, set()),
        (ours(encoder="frozen"), True, {"encoder", "decoder"}),
    ],
    ids=["ours: the decoder is frozen", "the paper's: both are", "oracle", "oracle of the paper's"],
)
def test_in_phase_two_what_makes_the_labels_stays_as_it_is(update, phase, true_rewards, kept):
    assert update(phase, true_rewards=true_rewards, updates=3)[3] == ALL - kept
    changed = update(phase, true_rewards=true_rewards, updates=3, next_in_context=True)[3]
    assert changed == (ALL | {"dynamics"}) - kept - ({"dynamics"} if "decoder" in kept else set())


def test_a_frozen_network_has_no_optimiser_state(update):
    learner, *_ = update(ours(encoder="frozen"))
    assert learner.optimisers["encoder"].state_dict()["state"] == {}
    assert learner.optimisers["decoder"].state_dict()["state"] == {}


@pytest.mark.parametrize("settings", [{"reward_scale": 5.0}, {"discount": 0.5}])
@pytest.mark.parametrize("phase", [None, ours()], ids=["offline", "self-supervised"])
def test_the_critics_loss_reaches_neither_encoder_nor_decoder(update, same, phase, settings):
    _, plain_metrics, plain, _ = update(phase, done=0.0)
    _, metrics, changed, _ = update(phase, done=0.0, **settings)
    assert metrics["critic/loss"] != plain_metrics["critic/loss"]
    assert metrics["decoder/error"] == plain_metrics["decoder/error"]
    assert differing(same, plain, changed) >= CRITICS
    assert not {"encoder", "decoder"} & differing(same, plain, changed)


def test_the_critics_reward_is_scaled(update):
    """Where every state is terminal, a large scale makes the targets large and nothing else."""
    losses = [update(done=1.0, reward_scale=scale)[1]["critic/loss"] for scale in (1e3, 1e4)]
    assert losses[1] == pytest.approx(100 * losses[0], rel=0.01)


def test_the_actors_loss_changes_no_critic(update, same):
    plain, with_q = (update(ours(q_weight=weight))[2] for weight in (0.0, 1.0))
    assert differing(same, plain, with_q) == {"policy"}


def test_phase_1s_actor_climbs_the_critics_by_its_own_weight(
    update, same, make_learner, make_batch
):
    plain, asked = (update(q_weight=weight)[2] for weight in (0.0, 3.0))
    assert differing(same, plain, asked) == {"policy"}
    assert same(update(ours(), q_weight=3.0)[2], update(ours())[2])

    def valued(weight):
        """What untouched critics say of the mean action after some updates."""
        learner, batch = make_learner(q_weight=weight), make_batch(20)
        judge = copy.deepcopy(learner.agent)
        for _ in range(30):
            for mine, theirs in zip(
                (learner.agent.q1, learner.agent.q2), (judge.q1, judge.q2), strict=True
            ):
                mine.load_state_dict(theirs.state_dict())
            learner.update(make_batch(10), batch)
        torch.manual_seed(1)
        z = learner.embedding(make_batch(10)).unsqueeze(1).expand(-1, batch.reward.shape[1], -1)
        with torch.no_grad():
            mean, _ = learner.agent.policy(batch.observation, z)
            return judge.min_q(batch.observation, torch.tanh(mean), z).mean().item()

    assert valued(30.0) > valued(0.0)


def test_the_mean_actions_error_moves_the_policy_alone_by_its_weight(
    update, same, make_learner, make_batch
):
    plain, asked = (update(action_error_weight=weight)[2] for weight in (0.0, 20.0))
    assert differing(same, plain, asked) == {"policy"}

    def error_after(weight):
        learner, batch = make_learner(action_error_weight=weight), make_batch(20)
        for _ in range(30):
            learner.update(make_batch(10), batch)
        torch.manual_seed(1)
        z = learner.embedding(make_batch(10)).unsqueeze(1).expand(-1, batch.reward.shape[1], -1)
        mean, _ = learner.agent.policy(batch.observation, z)
        return losses.action_error(mean, batch.action).mean().item()

    assert error_after(20.0) < error_after(0.0)


def test_beyond_a_terminal_state_nothing_counts_and_beyond_a_time_limit_it_does(update, same):
    ended = [update(done=1.0, discount=discount)[2] for discount in (0.1, 0.9)]
    going_on = [update(done=0.0, discount=discount)[2] for discount in (0.1, 0.9)]
    assert differing(same, *ended) == set()
    assert differing(same, *going_on) >= CRITICS


def one_step_ahead(batch, discount):
    """What a batch knows anyway, written as a look ahead of one step."""
    far = torch.full_like(batch.reward, discount)
    return batch._replace(ahead=Ahead(batch.reward, batch.next_observation, batch.done, far))


def test_to_look_one_step_ahead_is_not_to_look_ahead(make_learner, make_batch):
    found = []
    for change in (lambda batch: batch, lambda batch: one_step_ahead(batch, 0.75)):
        learner = make_learner(discount=0.75)
        torch.manual_seed(1)
        found.append(numbers(learner.update(make_batch(10), change(make_batch(20)))))
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_critics_learn_what_several_steps_paid_and_the_value_reached(make_learner, make_batch):
    """Two steps that ended in terminal states: the target is what they paid, in the critic's unit;
    where they did not, the value there counts with γ²."""
    context, batch = make_batch(10), make_batch(20)
    paid = torch.linspace(-2, 1, batch.reward.numel()).view_as(batch.reward)

    def critic_loss(done, discount=0.75**2):
        learner = make_learner(discount=0.75, reward_scale=2.0)
        agent = copy.deepcopy(learner.agent)
        ended = torch.full_like(paid, done)
        far = torch.full_like(paid, discount)
        ahead = Ahead(paid, batch.next_observation + 1.0, ended, far)
        torch.manual_seed(1)
        found = numbers(learner.update(context, batch._replace(ahead=ahead)))["critic/loss"]
        torch.manual_seed(1)
        z = sample(*agent.infer(context)).unsqueeze(1).expand(-1, paid.shape[1], -1)
        s_next = ahead.observation.flatten(0, 1)
        mean, log_std = agent.policy(s_next, z.flatten(0, 1))
        a_next = squashed_sample(mean, log_std)
        value = agent.min_q_target(s_next, a_next, z.flatten(0, 1)).view_as(paid)
        physical = paid * 1.5 - 3.0 * (1 + 0.75)  # of both steps
        target = 2.0 * physical / 1.5 + discount * (1 - ended) * value
        by_hand = sum(
            (q(batch.observation, batch.action, z).view_as(paid) - target).square().mean()
            for q in (agent.q1, agent.q2)
        )
        assert found == pytest.approx(by_hand.item(), rel=1e-5)
        return found

    assert critic_loss(done=1.0) != pytest.approx(critic_loss(done=0.0), rel=1e-3)


def test_the_value_in_the_target_is_clamped_in_the_critics_own_unit(make_learner, make_batch):
    """Rewards of −6 to −3, with a deviation of 1.5 and a scale of 2: −8 to −4 a step, and at a
    discount of 0.75 no state is worth less than −32 or more than 0."""
    context, batch = make_batch(10), make_batch(20, done=0.0)

    def critic_loss(value, clamp_q):
        learner = make_learner(discount=0.75, reward_scale=2.0, clamp_q=clamp_q)
        agent = learner.agent
        agent.shape = replace(agent.shape, reward_bounds=(-6.0, -3.0))
        before = copy.deepcopy(agent)
        agent.min_q_target = lambda observation, *_: torch.full((len(observation),), value)
        torch.manual_seed(1)
        found = numbers(learner.update(context, batch))["critic/loss"]
        torch.manual_seed(1)
        z = sample(*before.infer(context)).unsqueeze(1).expand(-1, batch.reward.shape[1], -1)
        within = min(max(value, -32.0), 0.0) if clamp_q else value
        target = 2.0 * (batch.reward * 1.5 - 3.0) / 1.5 + 0.75 * within
        by_hand = sum(
            (q(batch.observation, batch.action, z).view_as(target) - target).square().mean()
            for q in (before.q1, before.q2)
        )
        assert found == pytest.approx(by_hand.item(), rel=1e-5)
        return found

    for value in (-50.0, 20.0):
        assert critic_loss(value, clamp_q=True) < critic_loss(value, clamp_q=False)
    assert critic_loss(-10.0, clamp_q=True) == critic_loss(-10.0, clamp_q=False)


def test_targets_follow_at_their_rate(update, make_learner):
    start = make_learner().agent
    learner, *_ = update(target_rate=0.25)
    for old, target, net in (
        (start.q1_target, learner.agent.q1_target, learner.agent.q1),
        (start.q2_target, learner.agent.q2_target, learner.agent.q2),
    ):
        for before, after, followed in zip(
            old.parameters(), target.parameters(), net.parameters(), strict=True
        ):
            torch.testing.assert_close(after, 0.75 * before + 0.25 * followed)


def test_a_step_is_as_long_as_the_learning_rate(update, make_learner):
    """Adam's first step is the learning rate in each direction that has a gradient."""
    for rate in (1e-3, 1e-2):
        learner, *_ = update(learning_rate=rate)
        for name in ("policy", "q1", "encoder", "decoder"):
            before = getattr(make_learner().agent, name).parameters()
            after = getattr(learner.agent, name).parameters()
            longest = max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
            assert longest == pytest.approx(rate, rel=0.01)


def test_the_kl_weight_acts_on_the_encoder_alone(update, same):
    light, heavy = (update(kl_weight=weight)[2] for weight in (0.0, 10.0))
    assert differing(same, light, heavy) == {"encoder"}


def test_a_heavy_kl_weight_keeps_the_posterior_near_the_prior(update):
    light, heavy = (
        update(kl_weight=weight, learning_rate=0.01, updates=40)[1] for weight in (0.0, 100.0)
    )
    assert heavy["encoder/kl"] < light["encoder/kl"] / 2


@pytest.mark.parametrize(
    "advantage",
    [
        {"temperature": 2.0},
        {"clip": 1.1},
        {"weights": "softmax"},
        {"over": "mean"},
        {"critics": "before"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_how_advantages_weigh_acts_on_the_policy_alone(update, same, advantage):
    plain, changed = (update(advantage=Advantage(**a))[2] for a in ({}, advantage))
    assert differing(same, plain, changed) == {"policy"}


def test_no_weight_exceeds_the_clip(update):
    assert update(advantage=Advantage(clip=1.1))[1]["actor/weight_max"] == pytest.approx(1.1)


def test_scaling_by_q_divides_the_q_term(update, same):
    scaled, plain = (update(ours(scale_by_q=scale))[2] for scale in (True, False))
    assert differing(same, scaled, plain) == {"policy"}


@pytest.mark.parametrize(
    "advantage",
    [
        Advantage(),
        Advantage(weights="softmax", temperature=2.0),
        Advantage(over="mean"),
        Advantage(critics="before"),
    ],
)
@pytest.mark.parametrize("q_weight", [0.0, 0.7])
def test_one_update_by_hand(make_learner, make_batch, advantage, q_weight):
    """Row by row, from the same noise in the same order."""
    learner = make_learner(advantage=advantage, reward_scale=3.0, discount=0.8)
    before = copy.deepcopy(learner.agent)
    context, batch = make_batch(10, rows=7), make_batch(20)
    torch.manual_seed(1)
    metrics = numbers(
        learner.self_supervised_update(context, batch, ours(q_weight=q_weight, scale_by_q=True))
    )
    judge = before if advantage.critics == "before" else learner.agent
    tasks, rows = batch.reward.shape
    torch.manual_seed(1)
    noise = torch.randn(tasks, 2), torch.randn(tasks * rows, 2), torch.randn(tasks * rows, 2)

    errors, kls, bellman, log_probs, advantages, values = [], [], [], [], [], []
    with torch.no_grad():
        for task in range(tasks):
            factors = [
                before.encoder(c[0], c[1], c[2].view(1), c[3])
                for c in zip(*(column[task] for column in context[:4]), strict=True)
            ]
            precision = 1 + sum(1 / variance for _, variance in factors)
            mean = sum(m / variance for m, variance in factors) / precision
            z = mean + precision.rsqrt() * noise[0][task]
            kls.append(0.5 * (1 / precision + mean**2 - 1 + precision.log()).sum().item())
            for row in range(rows):
                s, a, r, s_next, done = (column[task, row] for column in batch[:5])
                first, second = (part[task * rows + row] for part in noise[1:])
                errors.append((before.decoder(s, a, z) - r).item() ** 2)

                mean_next, log_std_next = before.policy(s_next, z)
                a_next = torch.tanh(mean_next + log_std_next.exp() * first)
                q_next = min(
                    before.q1_target(s_next, a_next, z).item(),
                    before.q2_target(s_next, a_next, z).item(),
                )
                raw_reward = r.item() * 1.5 - 3.0
                target = 3.0 * raw_reward / 1.5 + 0.8 * (1 - done.item()) * q_next
                q1, q2 = before.q1(s, a, z).item(), before.q2(s, a, z).item()
                bellman.append((q1 - target) ** 2 + (q2 - target) ** 2)

                mean_now, log_std = before.policy(s, z)
                a_now = torch.tanh(mean_now + log_std.exp() * second)
                value = min(judge.q1(s, a_now, z).item(), judge.q2(s, a_now, z).item())
                values.append(value)
                if advantage.over == "mean":
                    a_mean = torch.tanh(mean_now)
                    value = min(judge.q1(s, a_mean, z).item(), judge.q2(s, a_mean, z).item())
                advantages.append(min(q1, q2) - value)
                plain = torch.distributions.TransformedDistribution(
                    torch.distributions.Normal(mean_now, log_std.exp()),
                    [torch.distributions.TanhTransform()],
                )
                log_probs.append(plain.log_prob(a).sum().item())

    n = tasks * rows
    centre = sum(advantages) / n
    spread = math.sqrt(sum((a - centre) ** 2 for a in advantages) / (n - 1))
    if advantage.weights == "softmax":
        raw = [math.exp(a / 2.0) for a in advantages]
    else:
        raw = [math.exp((a - centre) / spread / 0.5) for a in advantages]
    weights = [w * n / sum(raw) for w in raw]
    actor = -sum(p * w for p, w in zip(log_probs, weights, strict=True)) / n
    actor -= q_weight * (sum(values) / n) / (sum(map(abs, values)) / n)

    assert metrics["decoder/error"] == pytest.approx(sum(errors) / n, rel=1e-4)
    assert metrics["encoder/kl"] == pytest.approx(sum(kls) / tasks, rel=1e-4)
    assert metrics["critic/loss"] == pytest.approx(sum(bellman) / n, rel=1e-4)
    assert metrics["actor/loss"] == pytest.approx(actor, rel=1e-3)


def test_the_dynamics_weight_acts_on_the_encoder_where_dynamics_vary(update, same):
    none, some = (update(next_in_context=True, dynamics_weight=weight)[2] for weight in (0.0, 1e3))
    assert "encoder" in differing(same, none, some)
    assert not differing(same, none, some) & (CRITICS | {"decoder"})
    none, some = (update(dynamics_weight=weight)[2] for weight in (0.0, 1e3))
    assert not differing(same, none, some)


def test_what_explains_the_dynamics_is_as_wide_as_asked(make_learner):
    wide = make_learner(next_in_context=True, networks=Networks(dynamics=(9, 7))).agent.dynamics
    assert [layer.out_features for layer in wide.body[::2]] == [9, 7, 3]


def test_bodies_that_are_paid_alike_are_told_apart_by_where_they_get_to(make_learner):
    """The reward says nothing of the body here; s' does: the encoder must hold it all the same."""
    drift = torch.tensor([[[-1.0]], [[1.0]]])

    def draw(rows):
        s, a = torch.randn(2, rows, 3), torch.rand(2, rows, 2) * 2 - 1
        return Batch(s, a, s[..., 0], s + drift + 0.1 * torch.randn(2, rows, 3), torch.zeros(2, 1))

    def apart(dynamics_weight):
        torch.manual_seed(0)
        learner = make_learner(
            next_in_context=True,
            kl_weight=0.01,
            learning_rate=1e-2,
            dynamics_weight=dynamics_weight,
        )
        for _ in range(200):
            batch = draw(16)
            metrics = learner.update(draw(8), batch._replace(done=batch.done.expand(2, 16)))
        return metrics["encoder/mean_spread"], metrics["dynamics/unexplained"]

    (blind, _), (seeing, unexplained) = apart(0.0), apart(1.0)
    assert seeing > 2 * blind
    assert unexplained < 0.2


def test_updates_explain_rewards_by_the_task(make_learner):
    """Tasks that differ only in reward: the encoder must tell them apart for the decoder."""
    torch.manual_seed(0)
    learner = make_learner(kl_weight=0.001, learning_rate=1e-2)
    level = torch.tensor([[-1.0], [1.0]])

    def draw(rows):
        s, a = torch.randn(2, rows, 3), torch.rand(2, rows, 2) * 2 - 1
        return Batch(s, a, level.expand(2, rows), s, torch.zeros(2, rows))

    for _ in range(200):
        metrics = learner.update(draw(8), draw(16))
    assert metrics["decoder/error"] < 0.1
