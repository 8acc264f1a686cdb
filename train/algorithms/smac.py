"""SMAC: one gradient step of each of its two phases, readable top to bottom.

Holds networks and optimisers; knows nothing of files, robots or simulators.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.squashed_gaussian import squashed_sample
from fieldtune.train.algorithm_settings import ActionErrorWeight
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.decoding import unexplained
from fieldtune.train.algorithms.latent import LatentAlgorithm
from fieldtune.train.algorithms.losses import kl_to_prior
from fieldtune.train.algorithms.optimisation import (
    bellman_target_inputs,
    gradient_step,
    per_row,
    posterior_metrics,
)
from fieldtune.train.config import CriticSettings, Section, SelfSupervised
from fieldtune.train.data.replay import Batch

INFERENCE = ("encoder", "decoder", "dynamics")  # what learns to infer and explain a task


class Advantage(Section):
    """How advantages weigh the actor's log-likelihood.

    `weights`, `standardised`: exp(A / (`temperature` · std A)), at most `clip`; scale set by the
    data. `softmax`: softmax(A / temperature) over the flattened batch times its size (reference:
    100).
    `over` is what an action's value is compared with: that of an action `sampled` from the policy,
    as in the reference, or of the policy's `mean` action, which does not add a draw's noise to A.
    `critics` says which judge: `stepped` ones the policy's action and those of before their step
    the data's, or those of `before` both actions, and −Q of phase 2 too, as in the reference.
    """

    weights: Literal["standardised", "softmax"] = "standardised"
    over: Literal["sampled", "mean"] = "sampled"
    critics: Literal["stepped", "before"] = "stepped"
    temperature: float = Field(default=0.5, gt=0)
    clip: float = Field(default=20.0, gt=0)


class SmacSettings(CriticSettings):
    """SMAC's settings that both phases share (Pong et al. 2022, sec. 5 and appendix)."""

    name: Literal["smac"] = "smac"
    advantage: Advantage = Advantage()
    clamp_q: bool = Field(
        default=False,
        description="keep the value in the critic's target within what the family's rewards allow, "
        "[r_min, r_max] / (1 − discount); the paper has no such bound",
    )
    action_error_weight: ActionErrorWeight = 0.0
    q_weight: float = Field(
        default=0.0,
        ge=0,
        description="of −Q, divided by the mean of |Q|, in phase 1's actor loss; phase 2 has its "
        "own, self_supervised.q_weight. The paper has it in phase 2 alone",
    )
    dynamics_weight: float = Field(
        default=1.0, ge=0, description="of the error in s', where dynamics vary; the paper has none"
    )


class Smac(LatentAlgorithm[SmacSettings]):
    """An agent with its optimisers, and the update of each phase.

    Self-supervised and exportable (`fieldtune.train.algorithms.algorithm`).
    """

    Settings = SmacSettings

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        agent = self.agent
        return {
            "critic": (agent.q1, agent.q2),
            "policy": (agent.policy,),
            "encoder": (agent.encoder,),
            "decoder": (agent.decoder,),
            **({} if agent.dynamics is None else {"dynamics": (agent.dynamics,)}),
        }

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """Phase 1: every network learns, from data with its true rewards (Algorithm 1)."""
        z, metrics = self._task_inference_step(context, batch, train=INFERENCE)
        metrics |= self._actor_critic_step(batch, z, self.settings.q_weight, scale_by_q=True)
        return metrics

    def self_supervised_update(
        self, context: Batch, batch: Batch, phase: SelfSupervised, *, true_rewards: bool = False
    ) -> Metrics:
        """See `fieldtune.train.algorithms.algorithm.SelfSupervised.self_supervised_update`.

        Phase 2 (Algorithm 2). The decoder made the labels, so it stays as it is; the encoder learns
        to recover a z that explains them. With `true_rewards` (the oracle) the decoder learns too.
        With `encoder: frozen`, the paper's variant, neither does, whoever rewards.
        """
        train: tuple[str, ...] = INFERENCE if true_rewards else ("encoder",)
        if phase.encoder == "frozen":
            train = ()
        z, metrics = self._task_inference_step(context, batch, train=train)
        metrics |= self._actor_critic_step(batch, z, phase.q_weight, phase.scale_by_q)
        return metrics

    def _task_inference_step(
        self, context: Batch, batch: Batch, train: tuple[str, ...]
    ) -> tuple[Tensor, Metrics]:
        """One step on (r(s,a,z) − r)² + w·KL(q(z|h)‖N(0,I)); gives z `(task, latent)`, detached.

        Sparse rewards are classified instead: −log p(r|s,a,z). Where dynamics vary, what (s,a,z)
        leaves unexplained of s' is added.
        """
        agent = self.agent
        with torch.set_grad_enabled(bool(train)):
            mean, variance = agent.infer(context)
            z = sample(mean, variance)
            left = unexplained(agent, batch, z)
            kl = kl_to_prior(mean, variance).mean()
            loss = left.reward + self.settings.kl_weight * kl
            if left.dynamics is not None:
                loss = loss + self.settings.dynamics_weight * left.dynamics
        if train:
            known = (self.optimisers[name] for name in train if name in self.optimisers)
            gradient_step(loss, *known)
        return z.detach(), left.metrics | posterior_metrics(mean, variance, kl)

    def _actor_critic_step(
        self, batch: Batch, z: Tensor, q_weight: float, scale_by_q: bool
    ) -> Metrics:
        agent, settings = self.agent, self.settings
        rows = batch.reward.shape[1]
        z = per_row(z, rows).flatten(0, 1)
        batch = batch.each(lambda column: column.flatten(0, 1))
        s, a = batch.observation, batch.action
        reward, s_next, done, discount = bellman_target_inputs(agent, settings, batch)

        with torch.no_grad():
            a_next = squashed_sample(*agent.policy(s_next, z))
            value = agent.min_q_target(s_next, a_next, z)
            target = losses.critic_target(reward, done, value, discount, self._possible_values())
        q1, q2 = agent.q1(s, a, z), agent.q2(s, a, z)
        critic_loss = losses.critic_loss(q1, q2, target)
        stepped = settings.advantage.critics == "stepped"
        if stepped:
            gradient_step(critic_loss, self.optimisers["critic"])

        mean, log_std = agent.policy(s, z)
        a_policy = squashed_sample(mean, log_std)
        with torch.set_grad_enabled(q_weight > 0):
            q_policy = agent.min_q(s, a_policy, z)
        with torch.no_grad():
            if settings.advantage.over == "mean":
                value = agent.min_q(s, torch.tanh(mean), z)
            else:
                value = q_policy
            advantage = torch.min(q1, q2) - value
            weights = self._weights(advantage)
        edge = settings.distribution.action_edge
        likeness = losses.likeness(mean, log_std, a, edge, settings.action_error_weight)
        actor_loss = losses.awac_loss(likeness, weights)
        if q_weight > 0:
            actor_loss = actor_loss + q_weight * losses.q_loss(q_policy, scale_by_q)
        gradient_step(actor_loss, self.optimisers["policy"])
        if not stepped:
            gradient_step(critic_loss, self.optimisers["critic"])

        agent.follow_critics(settings.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": q1.detach().mean(),
            "actor/loss": actor_loss.detach(),
            "actor/weight_max": weights.max(),
            "actor/advantage_std": losses.spread(advantage),
        }

    def _possible_values(self) -> tuple[float, float] | None:
        """Of any state, in the critic's units; None where `clamp_q` is false."""
        agent, settings = self.agent, self.settings
        if not settings.clamp_q:
            return None
        scale = settings.reward_scale / agent.normalisation.reward_std
        low, high = agent.shape.reward_bounds
        return losses.possible_values((scale * low, scale * high), settings.discount)

    def _weights(self, advantage: Tensor) -> Tensor:
        settings = self.settings.advantage
        if settings.weights == "softmax":
            return losses.softmax_weights(advantage, settings.temperature)
        return losses.standardised_weights(advantage, settings.temperature, settings.clip)
