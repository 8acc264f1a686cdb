"""PEARL, offline: one gradient step, on SMAC's own networks and batches.

Learns from the fixed, labelled data only and has no second phase. Knows nothing of files.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.squashed_gaussian import sample_with_log_prob
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.latent import LatentAlgorithm
from fieldtune.train.algorithms.losses import kl_to_prior
from fieldtune.train.algorithms.optimisation import (
    bellman_target_inputs,
    gradient_step,
    per_row,
    posterior_metrics,
)
from fieldtune.train.config import CriticSettings
from fieldtune.train.data.replay import Batch

# Entropy's weight against one unit of scaled reward. PEARL's release has a fixed coefficient of 1
# at reward scale 5; as critics and actor only know the ratio, that is 0.2 at reward scale 1.
ENTROPY_COEFFICIENT = 0.2


class PearlSettings(CriticSettings):
    """Nothing besides what every algorithm with critics has."""

    name: Literal["pearl"] = "pearl"


class Pearl(LatentAlgorithm[PearlSettings]):
    """PEARL (Rakelly et al. 2019, arXiv 1903.08254, algorithm 1) on data that does not grow.

    Soft actor-critic with a fixed entropy coefficient; the critic's loss trains the encoder. Unlike
    the authors' release, the next state's value comes from the target critics and a fresh action,
    as SMAC's does, and not from a value network of its own.
    """

    Settings = PearlSettings

    def __init__(self, agent: Agent, settings: PearlSettings, learning_rate: float) -> None:
        super().__init__(agent, settings, learning_rate)
        self.entropy_coefficient = ENTROPY_COEFFICIENT * settings.reward_scale

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        agent = self.agent
        return {
            "critic": (agent.q1, agent.q2),
            "policy": (agent.policy,),
            "encoder": (agent.encoder,),
        }

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of critics and encoder, then of the actor, then of the target critics."""
        mean, variance = self.agent.infer(context)
        kl = kl_to_prior(mean, variance).mean()
        z = per_row(sample(mean, variance), batch.reward.shape[1]).flatten(0, 1)
        rows = batch.each(lambda column: column.flatten(0, 1))
        metrics = self._critic_step(rows, z, kl)
        metrics |= self._actor_step(rows.observation, z.detach())
        self.agent.follow_critics(self.settings.target_rate)
        return metrics | posterior_metrics(mean, variance, kl)

    def _critic_step(self, rows: Batch, z: Tensor, kl: Tensor) -> Metrics:
        """Bellman error + w·KL, into the critics and, through z outside the target, the encoder."""
        agent, settings = self.agent, self.settings
        reward, s_next, done, discount = bellman_target_inputs(agent, settings, rows)
        with torch.no_grad():
            a_next, log_prob_next = sample_with_log_prob(*agent.policy(s_next, z))
            value = agent.min_q_target(s_next, a_next, z)
            target = losses.critic_target(
                reward, done, value - self.entropy_coefficient * log_prob_next, discount
            )
        q1, q2 = (q(rows.observation, rows.action, z) for q in (agent.q1, agent.q2))
        loss = losses.critic_loss(q1, q2, target)
        gradient_step(
            loss + settings.kl_weight * kl, self.optimisers["critic"], self.optimisers["encoder"]
        )
        return {"critic/loss": loss.detach(), "critic/q": q1.detach().mean()}

    def _actor_step(self, observation: Tensor, z: Tensor) -> Metrics:
        """α·log π(ã|s,z) − min Q(s,ã,z), ã ~ π; `z` comes detached."""
        action, log_prob = sample_with_log_prob(*self.agent.policy(observation, z))
        value = self.agent.min_q(observation, action, z)
        loss = (self.entropy_coefficient * log_prob - value).mean()
        gradient_step(loss, self.optimisers["policy"])
        return {"actor/loss": loss.detach(), "actor/entropy": -log_prob.detach().mean()}
