"""Meta-behaviour cloning: the policy imitates the data, given the encoder's z."""

from __future__ import annotations

from typing import Literal

from torch import nn

from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithm_settings import ActionErrorWeight
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.latent import LatentAlgorithm
from fieldtune.train.algorithms.losses import kl_to_prior
from fieldtune.train.algorithms.optimisation import (
    gradient_step,
    per_row,
    posterior_metrics,
)
from fieldtune.train.config import LatentSettings
from fieldtune.train.data.replay import Batch


class MetaBcSettings(LatentSettings):
    """What every algorithm with a z has, and how it imitates."""

    name: Literal["meta-bc"] = "meta-bc"
    action_error_weight: ActionErrorWeight = 0.0


class MetaBehaviourCloning(LatentAlgorithm[MetaBcSettings]):
    """q(z|h) and π(a|s,z) made to repeat the data's actions, each task's from its own context.

    No reward is maximised: it enters through the context alone.
    """

    Settings = MetaBcSettings

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        return {"policy": (self.agent.policy,), "encoder": (self.agent.encoder,)}

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of policy and encoder on −log π(a|s,z) + w·KL(q(z|h)‖N(0,I)), z ~ q(z|h).

        To −log π the mean action's error may be added (`losses.likeness`).
        """
        agent, rows = self.agent, batch.reward.shape[1]
        mean, variance = agent.infer(context)
        z = per_row(sample(mean, variance), rows)
        policy_mean, log_std = agent.policy(batch.observation, z)
        edge, weight = self.settings.distribution.action_edge, self.settings.action_error_weight
        likeness = losses.likeness(policy_mean, log_std, batch.action, edge, weight).mean()
        kl = kl_to_prior(mean, variance).mean()
        gradient_step(-likeness + self.settings.kl_weight * kl, *self.optimisers.values())
        return {"actor/loss": -likeness.detach()} | posterior_metrics(mean, variance, kl)
