"""UNICORN: z that reconstructs what a task pays and does, beside FOCAL's distance metric.

Li et al. 2024 (arXiv 2402.02429), its self-supervised form. One gradient step; knows nothing of
files.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.behaviour_regularised import BehaviourRegularised
from fieldtune.train.algorithms.decoding import unexplained
from fieldtune.train.algorithms.focal import MetricSettings, distance_metric, spread
from fieldtune.train.algorithms.optimisation import gradient_step
from fieldtune.train.data.replay import Batch


class UnicornSettings(MetricSettings):
    """Of reconstruction and metric together."""

    name: Literal["unicorn"] = "unicorn"
    metric_weight: float = Field(
        default=0.15,
        ge=0,
        description="of the distance metric beside the reconstruction; 0.15 as released",
    )


class Unicorn(BehaviourRegularised[UnicornSettings]):
    """The metric bounds I(z; task) from above and the reconstruction from below: together they
    keep z from holding what only the data's policy did.

    s' is reconstructed, and is in the context, where a family's tasks differ in their dynamics
    alone: of one body for all, s' says nothing of z. As in SMAC errors are squared, and sparse
    rewards are classified; the release learns variances too, and always has s'.
    """

    Settings = UnicornSettings

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        decoders = (self.agent.decoder, self.agent.dynamics)
        known = tuple(one for one in decoders if one is not None)
        return super().learning() | {"decoder": known}

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of encoder and decoders on reconstruction + weight·L_dml, then of behaviour,
        critics and actor."""
        z = self.embed(context)
        left = unexplained(self.agent, batch, z)
        metric = distance_metric(z, self.embed(batch), self.settings.repulsion_power)
        loss = left.both + self.settings.metric_weight * metric
        gradient_step(loss, self.optimisers["encoder"], self.optimisers["decoder"])
        metrics = left.metrics | {"encoder/metric": metric.detach()} | spread(z)
        return metrics | self.act_better(batch, z)
