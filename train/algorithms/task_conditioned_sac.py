"""Soft actor-critic that is told the task: one gradient step, readable top to bottom.

Makes the data that meta-training starts from; SMAC itself is never told. Source: Haarnoja et al.
2018, arXiv 1812.05905. Knows tensors in training units only; nothing of families or episodes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fieldtune.train.agent.networks import Critic, Policy
from fieldtune.train.agent.squashed_gaussian import sample_with_log_prob, squashed_sample
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.optimisation import adam, gradient_step

TARGET_RATE = 0.005
FIRST_TEMPERATURE = 0.1


class TaskConditionedTransitions(NamedTuple):
    """Rows `(row, feature)`; `reward` and `done` are `(row,)`. `task` is what `reward` is for."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    done: Tensor
    task: Tensor


class TaskConditionedSac(nn.Module):
    """π(a|s, task) and Q(s, a, task): the task stands where SMAC's networks have z.

    Its state dict and those of its `optimisers` are all that it has learned.
    """

    def __init__(
        self,
        observation: int,
        action: int,
        task: int,
        hidden: Sequence[int],
        learning_rate: float,
        discount: float,
    ) -> None:
        super().__init__()
        self.discount = discount
        self.policy = Policy(observation, action, task, hidden)
        self.critics = nn.ModuleList(
            Critic(observation, action, task, hidden, layer_norm=True) for _ in range(2)
        )
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))
        self._target_entropy = -float(action)
        self.optimisers = {
            "policy": adam(learning_rate, self.policy),
            "critic": adam(learning_rate, self.critics),
            "temperature": adam(learning_rate, self.log_temperature),
        }

    @property
    def networks(self) -> nn.Module:
        """What a checkpoint holds of it, beside the optimisers."""
        return self

    @torch.no_grad()
    def act(self, observation: Tensor, task: Tensor) -> Tensor:
        """Actions in [−1, 1], `(row, action)`, drawn from the policy."""
        return squashed_sample(*self.policy(observation, task))

    def update(self, batch: TaskConditionedTransitions) -> Metrics:
        """One step of critics, actor and temperature (algorithm 1), then of the target critics.

        Returns the losses of critics and actor.
        """
        s, a, r, s_next, done, task = batch
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            a_next, log_prob_next = sample_with_log_prob(*self.policy(s_next, task))
            value = self._least(self.targets, s_next, a_next, task) - temperature * log_prob_next
            target = losses.critic_target(r, done, value, self.discount)
        q1, q2 = (critic(s, a, task) for critic in self.critics)
        critic_loss = losses.critic_loss(q1, q2, target)
        gradient_step(critic_loss, self.optimisers["critic"])

        a_policy, log_prob = sample_with_log_prob(*self.policy(s, task))
        q = self._least(self.critics, s, a_policy, task)
        actor_loss = (temperature * log_prob - q).mean()
        gradient_step(actor_loss, self.optimisers["policy"])

        excess = log_prob.detach().mean() + self._target_entropy
        gradient_step(-self.log_temperature * excess, self.optimisers["temperature"])
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.targets.parameters()), list(self.critics.parameters()), TARGET_RATE
            )
        return {"critic/loss": critic_loss.detach(), "actor/loss": actor_loss.detach()}

    @staticmethod
    def _least(critics: nn.ModuleList, s: Tensor, a: Tensor, task: Tensor) -> Tensor:
        first, second = (critic(s, a, task) for critic in critics)
        return torch.min(first, second)
