"""An offline actor-critic that stays near the data's policy, on z that somebody else infers.

BRAC with the value penalty (Wu, Tucker, Nachum 2019, arXiv 1911.11361, sec. 3), what FOCAL, CSRO
and UNICORN learn to act by. Knows nothing of how z is inferred: the files of these methods do.
"""

from __future__ import annotations

import math
from typing import ClassVar, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.networks import PointEncoder, Policy
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.squashed_gaussian import squashed_log_prob, squashed_sample
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.latent import LatentAlgorithm
from fieldtune.train.algorithms.optimisation import bellman_target_inputs, gradient_step, per_row
from fieldtune.train.config import EncoderSettings
from fieldtune.train.data.replay import Batch


class RegularisedSettings(EncoderSettings):
    """Of those that regularise behaviour: target critics follow at `target_rate` an update, and
    learn rewards `reward_scale` times what they are."""

    target_rate: float = Field(default=0.005, gt=0, le=1)
    reward_scale: float = Field(default=1.0, gt=0)
    divergence: float = Field(
        default=0.5,
        gt=0,
        description="how far the policy may be from the data's: KL(π ‖ π_b), in nats for each "
        "component of the action, mean over states",
    )
    penalty: float = Field(
        default=1.0,
        gt=0,
        description="what a nat costs at first, in the critic's rewards; it rises while the policy "
        "is further off than `divergence`, and falls while it is nearer",
    )

    @field_validator("repeat_tasks")
    @classmethod
    def _different_tasks(cls, repeat: bool) -> bool:
        if repeat:
            raise ValueError(
                "expected false: the embeddings of all tasks of a meta-batch are pushed apart, and "
                "a task that is in it twice would be pushed from itself"
            )
        return repeat


Settings = TypeVar("Settings", bound=RegularisedSettings)


class Penalty(nn.Module):
    """α, what a nat of divergence costs: positive, since its logarithm is what learns."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(first)))

    def forward(self) -> Tensor:
        return self.log.exp()


class RegularisedAgent(Agent):
    """An agent whose z is a point, with what its regularisation needs: π_b(a|s,z), and α."""

    def __init__(
        self, shape: Shape, settings: RegularisedSettings, normalisation: Normalisation
    ) -> None:
        super().__init__(shape, settings, normalisation)
        widths, ends = settings.networks, settings.distribution
        sizes, latent = (shape.observation, shape.action), settings.latent_size
        self.encoder = PointEncoder(*sizes, latent, widths.encoder, shape.next_in_context, ends)
        self.behaviour = Policy(*sizes, latent, widths.policy, ends)
        self.penalty = Penalty(settings.penalty)


class BehaviourRegularised(LatentAlgorithm[Settings]):
    """Base of a method: it infers z, and calls `act_better`.

    The divergence is KL(π ‖ π_b), with π_b learned from the data's actions, in closed form: both
    are Gaussians before the same squashing, which no divergence notices. α is a multiplier that
    holds its mean at `divergence`. The released FOCAL, CSRO and UNICORN estimate it by a critic of
    its own instead (the dual form, BRAC sec. 3.2); SAC's entropy, which they add, is left out.
    """

    agent_class: ClassVar[type[RegularisedAgent]] = RegularisedAgent
    agent: RegularisedAgent

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        agent = self.agent
        return {
            "critic": (agent.q1, agent.q2),
            "policy": (agent.policy,),
            "behaviour": (agent.behaviour,),
            "penalty": (agent.penalty,),
            "encoder": (agent.encoder,),
        }

    def embed(self, rows: Batch) -> Tensor:
        """z of each task's rows `(task, transition, ...)`: the mean of e(s, a, r[, s']), `(task,
        latent)`."""
        return self.agent.infer(rows)[0]

    def act_better(self, batch: Batch, z: Tensor) -> Metrics:
        """One step of the data's policy, critics, actor and α, then of the target critics.

        Args:
            batch: `(task, transition, ...)`.
            z: `(task, latent)`; what inferred it learns nothing from here, as in all three methods.
        """
        z = per_row(z.detach(), batch.reward.shape[1]).flatten(0, 1)
        rows = batch.each(lambda column: column.flatten(0, 1))
        metrics = self._behaviour_step(rows, z)
        metrics |= self._critic_step(rows, z)
        metrics |= self._actor_step(rows.observation, z)
        self.agent.follow_critics(self.settings.target_rate)
        return metrics

    def _behaviour_step(self, rows: Batch, z: Tensor) -> Metrics:
        """−log π_b(a|s,z)."""
        mean, log_std = self.agent.behaviour(rows.observation, z)
        edge = self.settings.distribution.action_edge
        loss = -squashed_log_prob(mean, log_std, rows.action, edge).mean()
        gradient_step(loss, self.optimisers["behaviour"])
        return {"behaviour/loss": loss.detach()}

    def _critic_step(self, rows: Batch, z: Tensor) -> Metrics:
        """(r + γ·(1−d)·(min Q_target(s',a',z) − α·D(s',z)) − Q(s,a,z))², a' ~ π: the value
        penalty."""
        agent = self.agent
        reward, s_next, done, discount = bellman_target_inputs(agent, self.settings, rows)
        with torch.no_grad():
            a_next = squashed_sample(*agent.policy(s_next, z))
            value = agent.min_q_target(s_next, a_next, z)
            value = value - agent.penalty() * self._divergence(s_next, z)
            target = losses.critic_target(reward, done, value, discount)
        q1, q2 = (q(rows.observation, rows.action, z) for q in (agent.q1, agent.q2))
        loss = losses.critic_loss(q1, q2, target)
        gradient_step(loss, self.optimisers["critic"])
        return {"critic/loss": loss.detach(), "critic/q": q1.detach().mean()}

    def _actor_step(self, observation: Tensor, z: Tensor) -> Metrics:
        """−min Q(s,ã,z) + α·D(s,z), ã ~ π; then α itself: −log α·(D − `divergence`)."""
        agent = self.agent
        action = squashed_sample(*agent.policy(observation, z))
        divergence = self._divergence(observation, z)
        penalty = agent.penalty().detach()
        loss = (penalty * divergence - agent.min_q(observation, action, z)).mean()
        gradient_step(loss, self.optimisers["policy"])
        apart = divergence.detach().mean()
        allowed = self.settings.divergence * agent.shape.action
        gradient_step(-agent.penalty.log * (apart - allowed), self.optimisers["penalty"])
        return {"actor/loss": loss.detach(), "actor/divergence": apart, "actor/penalty": penalty}

    def _divergence(self, observation: Tensor, z: Tensor) -> Tensor:
        """D(s, z) = KL(π(·|s,z) ‖ π_b(·|s,z)), `(row,)`; π_b learns nothing from it."""
        with torch.no_grad():
            behaviour = self.agent.behaviour(observation, z)
        return gaussian_kl(*self.agent.policy(observation, z), *behaviour)


def gaussian_kl(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """KL(N(mean, std) ‖ N(other)) summed over the last axis: `(..., component)` to `(...,)`."""
    ratio = (2 * (log_std - other_log_std)).exp()
    far = ((mean - other_mean) / other_log_std.exp()).square()
    return (0.5 * (ratio + far - 1.0) + other_log_std - log_std).sum(dim=-1)
