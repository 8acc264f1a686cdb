"""FOCAL: z by a distance metric between tasks, and a behaviour-regularised actor-critic on it.

Li, Yang and Luo 2021 (arXiv 2010.01112). One gradient step; knows nothing of files.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.behaviour_regularised import (
    BehaviourRegularised,
    RegularisedSettings,
)
from fieldtune.train.algorithms.optimisation import gradient_step
from fieldtune.train.data.replay import Batch

OFFSET = 0.1  # ε of the repulsion, as released


class MetricSettings(RegularisedSettings):
    """Of those with a distance metric between tasks."""

    repulsion_power: float = Field(
        default=2.0,
        gt=0,
        description="n of the repulsion between two tasks, 1 / (their distance^n + 0.1)",
    )


class FocalSettings(MetricSettings):
    """Nothing besides what every algorithm with a distance metric has."""

    name: Literal["focal"] = "focal"


class Focal(BehaviourRegularised[FocalSettings]):
    """The encoder learns from the metric alone: a task's embeddings near each other, and far from
    those of other tasks. No gradient of the critics reaches it."""

    Settings = FocalSettings

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of the encoder on the distance metric, then of behaviour, critics and actor."""
        z = self.embed(context)
        metric = distance_metric(z, self.embed(batch), self.settings.repulsion_power)
        gradient_step(metric, self.optimisers["encoder"])
        return {"encoder/metric": metric.detach()} | spread(z) | self.act_better(batch, z)


def distance_metric(z: Tensor, other: Tensor, power: float) -> Tensor:
    """L_dml: pairs of one task attract, ‖zᵢ − zⱼ‖²; pairs of two repel, 1 / (‖zᵢ − zⱼ‖ⁿ + ε).

    ‖·‖² is a mean over the latent, and each term a mean over its pairs, as released. There a pair
    of one task comes about where it is drawn twice, and its distance is √(‖·‖² + 0.001).

    Args:
        z, other: embeddings of two independent contexts of the same tasks, `(task, latent)`.
        power: n.
    """
    attraction = (z - other).square().mean(dim=-1).mean()
    every = torch.cat([z, other])
    squared = (every.unsqueeze(0) - every.unsqueeze(1)).square().mean(dim=-1)
    task = torch.arange(len(z), device=z.device).repeat(2)
    apart = (task.unsqueeze(0) != task.unsqueeze(1)).to(z.dtype)
    # Where a pair is one task the distance is 0, or small: its root is kept from infinite slopes.
    distance = (squared + 1e-12).pow(power / 2)
    repulsion = (apart / (distance + OFFSET)).sum() / apart.sum().clamp(min=1.0)
    return attraction + repulsion


@torch.no_grad()
def spread(z: Tensor) -> Metrics:
    """How far the tasks' embeddings `(task, latent)` lie apart; one task alone, from none: 0."""
    return {"encoder/mean_spread": z.std(dim=0, correction=min(1, len(z) - 1)).mean()}
