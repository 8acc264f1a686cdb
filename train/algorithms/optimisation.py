"""What updates have in common: optimisers, a gradient step, the Bellman target's inputs.

Knows nothing of any method's losses, nor of files.
"""

from __future__ import annotations

from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam

from fieldtune.errors import UserError
from fieldtune.train.agent.agent import Agent
from fieldtune.train.algorithms.algorithm import Checkpointable, Metrics
from fieldtune.train.data.replay import Batch


class TrainingDiverged(UserError):
    """What was learned is no longer numbers. The message says what, when and the cure."""


class CriticScale(Protocol):
    """The settings that a Bellman target needs."""

    @property
    def discount(self) -> float: ...

    @property
    def reward_scale(self) -> float: ...


def adam(learning_rate: float, *trained: nn.Module | nn.Parameter) -> Adam:
    """One optimiser of all these networks' parameters, and of single parameters."""
    parameters = chain.from_iterable(
        [one] if isinstance(one, nn.Parameter) else one.parameters() for one in trained
    )
    return Adam(parameters, lr=learning_rate, fused=True)


def place(learner: Checkpointable, device: torch.device) -> None:
    """Move networks to `device`, in place, before their optimisers have taken a step.

    On a GPU the optimisers become such as a graph can hold (`fieldtune.train.captured`).
    """
    learner.networks.to(device)
    if device.type == "cuda":
        for optimiser in learner.optimisers.values():
            for group in optimiser.param_groups:
                group["capturable"] = True


def gradient_step(loss: Tensor, *optimisers: Adam) -> None:
    """Gradient step on these optimisers' own parameters only.

    `torch.autograd.grad` leaves every other network untouched, so the actor's loss cannot leak into
    the critics nor the labels' loss into a frozen decoder.
    """
    owned = [p for one in optimisers for group in one.param_groups for p in group["params"]]
    for parameter, gradient in zip(owned, torch.autograd.grad(loss, owned), strict=True):
        parameter.grad = gradient
    for optimiser in optimisers:
        optimiser.step()


def bellman_target_inputs(
    agent: Agent, settings: CriticScale, rows: Batch
) -> tuple[Tensor, Tensor, Tensor, float | Tensor]:
    """Inputs of the n-step Bellman target (Sutton and Barto, Reinforcement Learning, sec. 7.1,
    uncorrected for who acted).

    Args:
        agent: whose normalisation the rewards are in.
        settings: the rewards' scale and the discount.
        rows: `(row, ...)`; `algorithm.n_step` steps of each where they look ahead, else one.

    Returns:
        Scaled reward `(row,)`, state reached, whether that is terminal, and the discount from it.
    """
    ahead, discount = rows.ahead, settings.discount
    if ahead is None:
        reward = settings.reward_scale * agent.critic_reward(rows.reward)
        return reward, rows.next_observation, rows.done, discount
    steps = (1.0 - ahead.discount) / (1.0 - discount)  # Σ γ^j: each step has the constant once
    reward = settings.reward_scale * agent.critic_reward(ahead.reward, steps)
    return reward, ahead.observation, ahead.done, ahead.discount


def per_row(z: Tensor, rows: int) -> Tensor:
    """`(task, latent)` repeated for each of a task's rows, `(task, row, latent)`."""
    return z.unsqueeze(1).expand(-1, rows, -1)


@torch.no_grad()
def posterior_metrics(mean: Tensor, variance: Tensor, kl: Tensor) -> Metrics:
    """How wide the posteriors are and how far apart; one task alone is not apart from any: 0.

    Args:
        mean, variance: `(task, latent)`.
        kl: to the prior, mean over tasks, a scalar.
    """
    return {
        "encoder/kl": kl.detach(),
        "encoder/posterior_std": variance.sqrt().mean(),
        "encoder/mean_spread": mean.std(dim=0, correction=min(1, len(mean) - 1)).mean(),
    }
