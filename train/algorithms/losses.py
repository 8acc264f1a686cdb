"""What the algorithms minimise: pure functions of tensors, each beside its equation.

Rows are flattened `(task · transition, ...)`. Equation numbers are of Pong et al. 2022
(arXiv 2107.03974).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fieldtune.train.agent.squashed_gaussian import squashed_log_prob

UNCHANGED = 1e-12  # variance below which a component is a constant


def critic_target(
    reward: Tensor,
    done: Tensor,
    next_value: Tensor,
    discount: float | Tensor,
    possible: tuple[float, float] | None = None,
) -> Tensor:
    """r + γ·(1−d)·min Q_target(s', a', z), eq. 5.

    Of k steps at once: their discounted sum, the state that they reached, and γ^k.

    Args:
        reward: `(row,)`, already scaled.
        done: `(row,)`, 1 where s' is terminal, else 0.
        next_value: `(row,)`, min Q_target(s', a', z), less the entropy's term where there is one.
        discount: γ, or γ^k of each row, `(row,)`.
        possible: the least and the most that any state is worth, where the value of s' is to be
            clamped to it; the target then is possible too. Rewards are left as they are.
    """
    if possible is not None:
        next_value = next_value.clamp(*possible)
    return reward + discount * (1.0 - done) * next_value


def possible_values(rewards: tuple[float, float], discount: float) -> tuple[float, float]:
    """The least and the most that a state is worth: [r_min, r_max] / (1 − γ).

    With 0 among them, since nothing follows a terminal state.

    Args:
        rewards: r_min and r_max, scaled as the critic's; they may be infinite.
        discount: γ.
    """
    low, high = rewards
    return min(low, 0.0) / (1.0 - discount), max(high, 0.0) / (1.0 - discount)


def critic_loss(q1: Tensor, q2: Tensor, target: Tensor) -> Tensor:
    """Squared Bellman error of both critics, eq. 5.

    Args:
        q1, q2: what each critic says, `(row,)`.
        target: `(row,)`, without a gradient (`critic_target`).
    """
    return F.mse_loss(q1, target) + F.mse_loss(q2, target)


def softmax_weights(advantage: Tensor, temperature: float) -> Tensor:
    """softmax(A/β) over the whole flattened batch, times its size: the authors' implementation."""
    return torch.softmax(advantage / temperature, dim=0) * advantage.numel()


def standardised_weights(advantage: Tensor, temperature: float, clip: float) -> Tensor:
    """exp(A / (temperature·std A)), mean one, clipped: eq. 6 with its scale λ set from the data.

    Args:
        advantage: `(row,)`; its mean over the rows is taken off first.
        temperature: in standard deviations of the advantage.
        clip: the most that a weight may be.
    """
    scaled = (advantage - advantage.mean()) / (spread(advantage) + 1e-6) / temperature
    weights = torch.exp(scaled.clamp(max=10.0))
    return (weights / weights.mean()).clamp(max=clip)


def spread(values: Tensor) -> Tensor:
    """Standard deviation of `values` `(row,)`; of one row, 0 and not NaN."""
    return values.std(correction=min(1, len(values) - 1))


def awac_loss(log_prob: Tensor, weights: Tensor) -> Tensor:
    """−log π(a|s,z) · w, eq. 6."""
    return -(log_prob * weights).mean()


def likeness(
    mean: Tensor, log_std: Tensor, action: Tensor, edge: float, error_weight: float
) -> Tensor:
    """log π(a|s,z) − weight · `action_error`, `(...,)`: what an actor that imitates makes large.

    Args:
        mean, log_std: of the policy, before squashing, `(..., action)`.
        action: `(..., action)` in [−1, 1].
        edge: see `squashed_log_prob`.
        error_weight: 0 is the paper's log π alone.
    """
    log_prob = squashed_log_prob(mean, log_std, action, edge)
    return log_prob - error_weight * action_error(mean, action) if error_weight > 0 else log_prob


def action_error(mean: Tensor, action: Tensor) -> Tensor:
    """(tanh μ(s,z) − a)², a mean over the action's components, `(...,)`.

    log π lets a policy explain a poor mean by a wide spread, and near a bound it counts in units of
    atanh, where ±1 is far away. This asks for the mean alone, in the action's own units.
    """
    return (torch.tanh(mean) - action).square().mean(dim=-1)


def q_loss(q: Tensor, scale_by_q: bool) -> Tensor:
    """−Q(s, ã, z), the online phase's extra actor term; divided by mean |Q| if asked."""
    scale = q.detach().abs().mean() + 1e-6 if scale_by_q else 1.0
    return -q.mean() / scale


def reconstruction_loss(predicted: Tensor, reward: Tensor) -> Tensor:
    """(r(s,a,z) − r)², eq. 7, on the reward the critic's scale never touches."""
    return F.mse_loss(predicted, reward)


def success_loss(logit: Tensor, success: Tensor) -> Tensor:
    """−log p(reward | s, a, z) of rewards that are −1 or 0: eq. 7 with a Bernoulli likelihood."""
    return F.binary_cross_entropy_with_logits(logit, success)


def dynamics_loss(predicted: Tensor, change: Tensor) -> Tensor:
    """How much of s' − s is left unexplained, mean over components: squared error / variance.

    Not in the paper, whose reconstruction of r alone says nothing of a body when all bodies are
    paid by one function; a component that never changes in the batch counts as explained.

    Args:
        predicted, change: `(row, observation)`, in any unit, since each component has its own.
    """
    variance = change.var(dim=0, correction=0)
    error = (predicted - change).square().mean(dim=0)
    return torch.where(variance > UNCHANGED, error / variance.clamp(min=UNCHANGED), 0.0).mean()


def kl_to_prior(mean: Tensor, variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, I)) summed over the latent, `(...,)`."""
    return 0.5 * (variance + mean.square() - 1.0 - variance.log()).sum(dim=-1)
