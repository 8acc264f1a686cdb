"""What each baseline's update changes, its numbers by hand, what it learns, and how it resumes."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithms.meta_bc import MetaBehaviourCloning
from fieldtune.train.algorithms.pearl import Pearl
from fieldtune.train.data.replay import Ahead, Batch
from fieldtune.train.phases.offline import checkpoint_of, train_offline
from fieldtune.train.runs.checkpoint import load_networks, read_facts
from fieldtune.train.runs.readings import numbers
from fieldtune.train.runs.untrained import untrained

BASELINES = {"meta-bc": MetaBehaviourCloning, "pearl": Pearl}
CRITICS = {"q1", "q2", "q1_target", "q2_target"}


@pytest.fixture
def make_baseline(make_learner):
    """`make_baseline(kind, **settings)`: a fresh baseline of tiny networks."""

    def make(kind, **settings):
        smac = make_learner(**settings)
        return kind(smac.agent, smac.settings, smac.settings.learning_rate)

    return make


@pytest.fixture
def update(make_baseline, make_batch, state, same):
    """`update(kind, ...)`: updates of a fresh baseline.

    Gives its networks' weights and the names of those that changed.
    """

    def run(kind, done=None, entropy=None, updates=3, **settings):
        learner = make_baseline(kind, **settings)
        if entropy is not None:
            learner.entropy_coefficient = entropy
        before = state(learner)["networks"]
        torch.manual_seed(1)
        for seed in range(updates):
            learner.update(make_batch(10 + seed, rows=7), make_batch(20 + seed, done=done))
        after = state(learner)["networks"]
        return after, {name for name in after if not same(before[name], after[name])}

    return run


def contents(path):
    """Everything that a checkpoint holds, random states included."""
    with safe_open(path, framework="pt") as file:
        return {"header": file.metadata(), "tensors": load_file(path)}


def differing(same, one, other):
    return {name for name in one if not same(one[name], other[name])}


def test_cloning_changes_policy_and_encoder_alone(update):
    assert update(MetaBehaviourCloning)[1] == {"policy", "encoder"}


def test_clonings_likelihood_trains_the_encoder(update):
    assert "encoder" in update(MetaBehaviourCloning, kl_weight=0.0)[1]


def test_pearl_changes_all_but_the_decoder(update):
    assert update(Pearl)[1] == CRITICS | {"policy", "encoder"}


def test_pearls_critic_trains_the_encoder(update, same):
    """Without KL nothing else could; and another target teaches it something else."""
    (plain, changed), (scaled, _) = (
        update(Pearl, done=1.0, kl_weight=0.0, reward_scale=scale) for scale in (1.0, 5.0)
    )
    assert "encoder" in changed
    assert "encoder" in differing(same, plain, scaled)


def test_pearls_actor_changes_neither_encoder_nor_critics(update, same):
    """Where every state is terminal, entropy is in the actor's loss alone."""
    little, much = (update(Pearl, done=1.0, entropy=weight)[0] for weight in (0.0, 2.0))
    assert differing(same, little, much) == {"policy"}


@pytest.mark.parametrize("kind", BASELINES.values(), ids=BASELINES)
def test_the_kl_weight_trains_the_encoder(update, same, kind):
    light, heavy = (update(kind, updates=1, kl_weight=weight)[0] for weight in (0.0, 10.0))
    assert differing(same, light, heavy) == {"encoder"}


def test_beyond_a_terminal_state_nothing_counts_and_beyond_a_time_limit_it_does(update, same):
    ended = [update(Pearl, done=1.0, discount=discount)[0] for discount in (0.1, 0.9)]
    going_on = [update(Pearl, done=0.0, discount=discount)[0] for discount in (0.1, 0.9)]
    assert differing(same, *ended) == set()
    assert differing(same, *going_on) >= CRITICS


def test_pearls_critic_looks_as_far_ahead_as_the_batch(make_baseline, make_batch):
    """After what ended in terminal states nothing counts but what was paid."""
    batch = make_batch(20)
    found = []
    for paid in (0.0, 50.0):
        learner = make_baseline(Pearl, discount=0.5)
        ahead = Ahead(
            torch.full_like(batch.reward, paid),
            batch.next_observation,
            torch.ones_like(batch.done),
            torch.full_like(batch.reward, 0.5),
        )
        torch.manual_seed(1)
        metrics = learner.update(make_batch(10), batch._replace(ahead=ahead))
        found.append(metrics["critic/loss"].item())
    assert found[1] > 100 * found[0]


def test_at_the_releases_reward_scale_pearls_entropy_has_the_releases_coefficient(make_baseline):
    assert make_baseline(Pearl, reward_scale=5.0).entropy_coefficient == pytest.approx(1.0)


def posterior(agent, context, task):
    """Mean and precision of q(z|h), factor by factor."""
    factors = [
        agent.encoder(s, a, r.view(1), s_next)
        for s, a, r, s_next in zip(*(column[task] for column in context[:4]), strict=True)
    ]
    precision = 1 + sum(1 / variance for _, variance in factors)
    return sum(m / variance for m, variance in factors) / precision, precision


def kl(mean, precision):
    return 0.5 * (1 / precision + mean**2 - 1 + precision.log()).sum().item()


def log_likelihood(agent, s, z, action):
    mean, log_std = agent.policy(s, z)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
    return squashed.log_prob(action).sum().item()


def drawn(agent, s, z, noise):
    """An action of this noise, and its log π."""
    mean, log_std = agent.policy(s, z)
    action = torch.tanh(mean + log_std.exp() * noise)
    return action, log_likelihood(agent, s, z, action)


@torch.no_grad()
def cloning_by_hand(agent, context, batch, noise):
    """Mean −log π(a|s,z) and mean KL, row by row."""
    kls, losses = [], []
    for task in range(len(batch.reward)):
        mean, precision = posterior(agent, context, task)
        kls.append(kl(mean, precision))
        z = mean + precision.rsqrt() * noise[0][task]
        for s, a in zip(batch.observation[task], batch.action[task], strict=True):
            losses.append(-log_likelihood(agent, s, z, a))
    return sum(losses) / len(losses), sum(kls) / len(kls)


@torch.no_grad()
def bellman_by_hand(agent, context, batch, noise, before=None):
    """Mean Bellman error of both critics and mean KL, row by row; reward scale 3, discount 0.8.

    The next state's z is from the encoder of `before`, if given.
    """
    kls, errors = [], []
    tasks, rows = batch.reward.shape
    for task in range(tasks):
        mean, precision = posterior(agent, context, task)
        kls.append(kl(mean, precision))
        z = z_next = mean + precision.rsqrt() * noise[0][task]
        if before is not None:
            mean, precision = posterior(before, context, task)
            z_next = mean + precision.rsqrt() * noise[0][task]
        for row in range(rows):
            s, a, r, s_next, done = (column[task, row] for column in batch[:5])
            a_next, log_prob = drawn(agent, s_next, z_next, noise[1][task * rows + row])
            q_next = min(
                agent.q1_target(s_next, a_next, z_next).item(),
                agent.q2_target(s_next, a_next, z_next).item(),
            )
            soft = q_next - 0.6 * log_prob  # 0.2 at reward scale 3
            raw_reward = r.item() * 1.5 - 3.0
            target = 3.0 * raw_reward / 1.5 + 0.8 * (1 - done.item()) * soft
            q1, q2 = agent.q1(s, a, z).item(), agent.q2(s, a, z).item()
            errors.append((q1 - target) ** 2 + (q2 - target) ** 2)
    return sum(errors) / len(errors), sum(kls) / tasks


@torch.no_grad()
def actor_by_hand(before, after, context, batch, noise):
    """Mean of 0.6·log π(ã|s,z) − min Q(s,ã,z), and mean −log π, row by row."""
    losses, entropies = [], []
    tasks, rows = batch.reward.shape
    for task in range(tasks):
        mean, precision = posterior(before, context, task)
        z = mean + precision.rsqrt() * noise[0][task]
        for row in range(rows):
            s = batch.observation[task, row]
            a, log_prob = drawn(before, s, z, noise[2][task * rows + row])
            losses.append(0.6 * log_prob - min(after.q1(s, a, z).item(), after.q2(s, a, z).item()))
            entropies.append(-log_prob)
    return sum(losses) / len(losses), sum(entropies) / len(entropies)


@pytest.fixture
def one_update(make_baseline, make_batch):
    """`one_update(kind, ...)`: agents before and after, the metrics, the batches, the noise."""

    def run(kind, **settings):
        learner = make_baseline(kind, kl_weight=0.3, reward_scale=3.0, discount=0.8, **settings)
        before, batches = copy.deepcopy(learner.agent), (make_batch(10, rows=7), make_batch(20))
        torch.manual_seed(1)
        metrics = learner.update(*batches)
        torch.manual_seed(1)
        noise = torch.randn(3, 2), torch.randn(15, 2), torch.randn(15, 2)
        return before, learner.agent, numbers(metrics), batches, noise

    return run


def test_one_update_of_cloning_by_hand(one_update):
    before, _, metrics, batches, noise = one_update(MetaBehaviourCloning)
    loss, divergence = cloning_by_hand(before, *batches, noise)
    assert metrics["actor/loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["encoder/kl"] == pytest.approx(divergence, rel=1e-4)


def test_cloning_may_imitate_the_mean_action_too_by_its_weight(one_update):
    before, _, metrics, (context, batch), noise = one_update(
        MetaBehaviourCloning, action_error_weight=20.0
    )
    loss, _ = cloning_by_hand(before, context, batch, noise)
    errors = []
    for task in range(len(batch.reward)):
        mean, precision = posterior(before, context, task)
        z = mean + precision.rsqrt() * noise[0][task]
        for s, a in zip(batch.observation[task], batch.action[task], strict=True):
            errors.append((torch.tanh(before.policy(s, z)[0]) - a).square().mean().item())
    expected = loss + 20.0 * sum(errors) / len(errors)
    assert metrics["actor/loss"] == pytest.approx(expected, rel=1e-4)


def test_one_update_of_pearl_by_hand(one_update):
    before, after, metrics, batches, noise = one_update(Pearl)
    critic, divergence = bellman_by_hand(before, *batches, noise)
    actor, entropy = actor_by_hand(before, after, *batches, noise)
    assert metrics["encoder/kl"] == pytest.approx(divergence, rel=1e-4)
    assert metrics["critic/loss"] == pytest.approx(critic, rel=1e-4)
    assert metrics["actor/loss"] == pytest.approx(actor, rel=1e-3)
    assert metrics["actor/entropy"] == pytest.approx(entropy, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MetaBehaviourCloning, "policy"),
        (MetaBehaviourCloning, "encoder"),
        (Pearl, "q1"),
        (Pearl, "encoder"),
    ],
)
def test_the_gradient_is_the_slope_of_the_slow_loss(one_update, kind, name):
    """Of the last layer's biases, by finite differences in double precision."""
    before, after, _, batches, noise = one_update(kind)
    before = before.double()
    noise = [part.double() for part in noise]
    batches = [part.each(lambda column: column.double()) for part in batches]
    changed, step = copy.deepcopy(before), 1e-5

    def loss():
        if kind is MetaBehaviourCloning:
            error, divergence = cloning_by_hand(changed, *batches, noise)
        else:
            error, divergence = bellman_by_hand(changed, *batches, noise, before)
        return error + 0.3 * divergence

    bias = getattr(changed, name).body[-1].bias.data
    for index, found in enumerate(getattr(after, name).body[-1].bias.grad.tolist()):
        middle = bias[index].item()
        values = []
        for change in (step, -step):
            bias[index] = middle + change
            values.append(loss())
        bias[index] = middle
        assert found == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-5)


def test_pearls_targets_follow_at_their_rate(make_baseline, make_learner, make_batch):
    start, learner = make_learner().agent, make_baseline(Pearl, target_rate=0.25)
    learner.update(make_batch(10), make_batch(20))
    for old, target, net in (
        (start.q1_target, learner.agent.q1_target, learner.agent.q1),
        (start.q2_target, learner.agent.q2_target, learner.agent.q2),
    ):
        for before, after, followed in zip(
            old.parameters(), target.parameters(), net.parameters(), strict=True
        ):
            torch.testing.assert_close(after, 0.75 * before + 0.25 * followed)


LEVEL = torch.tensor([[-0.6], [0.6]])  # of the two tasks: their rewards, or their best actions


def test_cloning_repeats_each_tasks_actions_and_without_its_context_it_cannot(make_baseline):
    """Two tasks whose data have opposite actions; only the context's rewards tell them apart."""

    def trained(told):
        learner = make_baseline(MetaBehaviourCloning, kl_weight=0.001, learning_rate=1e-2)
        torch.manual_seed(0)
        for _ in range(300):
            s, noise = torch.randn(2, 16, 3), 0.1 * torch.randn(2, 16, 2)
            a = LEVEL.unsqueeze(-1) + noise
            r = LEVEL.expand(2, 16) * told
            metrics = learner.update(
                Batch(s, torch.zeros_like(a), r, s, torch.zeros(2, 16)),
                Batch(s, a, r, s, torch.zeros(2, 16)),
            )
        return metrics["actor/loss"]

    assert trained(told=1.0) < trained(told=0.0) - 1.0


def test_pearls_critic_and_actor_find_each_tasks_best_action(make_baseline):
    """One-step tasks: the reward is how near the first action comes to the task's own."""
    learner = make_baseline(Pearl, kl_weight=0.001, learning_rate=1e-2)
    constants = learner.agent.normalisation
    torch.manual_seed(0)

    def draw(rows):
        s, a = torch.randn(2, rows, 3), torch.rand(2, rows, 2) * 2 - 1
        physical = -6.0 * (a[..., 0] - LEVEL).square()
        r = (physical - constants.reward_mean) / constants.reward_std
        return Batch(s, a, r, s, torch.ones(2, rows))

    for _ in range(600):
        metrics = learner.update(draw(16), draw(32))
    spread = learner.agent.critic_reward(draw(500).reward).var().item()
    assert metrics["critic/loss"] / 2 < 0.2 * spread

    context = draw(64)
    with torch.no_grad():
        z = sample(*learner.agent.infer(context)).unsqueeze(1).expand(-1, 64, -1)
        action = torch.tanh(learner.agent.policy(context.observation, z)[0])[..., 0]
    torch.testing.assert_close(action.mean(dim=1, keepdim=True), LEVEL, atol=0.2, rtol=0)


@pytest.mark.parametrize("method", BASELINES)
def test_a_baseline_stopped_or_killed_and_resumed_equals_one_never_stopped(
    make_run, state, same, method
):
    def killed(done):
        if done == 5:
            raise KeyboardInterrupt

    whole = make_run(folder="never stopped")
    never_stopped = train_offline(whole, name=method)

    stopped = make_run("offline.checkpoint_every=2", folder="stopped")
    train_offline(stopped, name=method, until=1)
    torch.manual_seed(12345)  # another process has another random state
    with pytest.raises(KeyboardInterrupt):
        train_offline(stopped, name=method, on_update=killed)
    assert read_facts(checkpoint_of(stopped, method))["updates"] == 4
    torch.manual_seed(54321)
    resumed = train_offline(stopped, name=method)
    assert isinstance(resumed, BASELINES[method])
    assert same(state(resumed), state(never_stopped))
    one, other = (contents(checkpoint_of(run, method)) for run in (whole, stopped))
    assert same(one, other)


def test_each_method_trains_into_a_checkpoint_and_curves_of_its_own(
    make_run, make_trained, same, monkeypatch
):
    monkeypatch.setattr("fieldtune.train.runs.curves.EVERY", 1)
    run, alone = make_run(), make_trained(folder="alone")
    agents = {}
    for method in ("meta-bc", "pearl", "smac"):
        agents[method] = train_offline(run, name=method).agent
        saved = untrained(run).agent
        load_networks(checkpoint_of(run, method), saved)
        assert same(dict(saved.state_dict()), dict(agents[method].state_dict()))
    assert {path.name for path in run.offline_checkpoint.parent.iterdir()} == {
        "offline.safetensors",
        "meta-bc.safetensors",
        "pearl.safetensors",
    }
    assert {path.name for path in run.curves.iterdir()} == {"offline", "meta-bc", "pearl"}
    assert same(contents(run.offline_checkpoint), contents(alone.offline_checkpoint))
