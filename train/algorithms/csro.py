"""CSRO: FOCAL's z, kept from saying what the data's policy did, and explored for at random.

Gao et al. 2023 (arXiv 2311.03695). One gradient step, and how it explores; knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.networks import mlp
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.behaviour_regularised import (
    BehaviourRegularised,
    RegularisedAgent,
)
from fieldtune.train.algorithms.focal import MetricSettings, distance_metric, spread
from fieldtune.train.algorithms.optimisation import gradient_step
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import device_of, to_numpy


class CsroSettings(MetricSettings):
    """Of the bound on what z says of (s, a)."""

    name: Literal["csro"] = "csro"
    club_weight: float = Field(
        default=0.1,
        ge=0,
        description="of the bound on I(z; s, a) beside the distance metric, in nats of all of z; "
        "the release's is 0.1, and 0.25 on a point robot",
    )


class CsroAgent(RegularisedAgent):
    """With q(z|s,a), which guesses a transition's embedding without its reward."""

    def __init__(self, shape: Shape, settings: CsroSettings, normalisation: Normalisation) -> None:
        super().__init__(shape, settings, normalisation)
        inputs, outputs = shape.observation + shape.action, 2 * settings.latent_size
        self.guess = mlp([inputs, *settings.networks.encoder, outputs])

    def guessed(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(z|s,a) for each transition, `(task, transition, latent)`.

        As released, a variance is 0.31 to 1.31. Without that floor the bound outweighs the metric
        where (s, a) tell nearly all of an embedding, as with sparse rewards, and z collapses.
        """
        said = self.guess(torch.cat([rows.observation, rows.action], dim=-1))
        mean, raw = torch.tanh(said).chunk(2, dim=-1)
        return mean, F.softplus(raw)


class Csro(BehaviourRegularised[CsroSettings]):
    """FOCAL, and an upper bound on I(z; s, a) that the encoder makes small, so that contexts of
    another policy are read alike; and contexts that no policy decides (the non-prior strategy)."""

    Settings = CsroSettings
    agent_class: ClassVar[type[RegularisedAgent]] = CsroAgent
    agent: CsroAgent

    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        return super().learning() | {"guess": (self.agent.guess,)}

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of q(z|s,a) on −log q, one of the encoder on L_dml + weight·CLUB, then of
        behaviour, critics and actor."""
        points = self.agent.factors(context)[0]
        guessed = self.agent.guessed(context)
        error = -mean_of_rows(log_density(points.detach(), *guessed), context.counted)
        gradient_step(error, self.optimisers["guess"])

        z = self.embed(context)
        with torch.no_grad():
            guessed = self.agent.guessed(context)
        bound = club(points, *guessed, context.counted)
        metric = distance_metric(z, self.embed(batch), self.settings.repulsion_power)
        loss = metric + self.settings.club_weight * bound
        gradient_step(loss, self.optimisers["encoder"])
        metrics: Metrics = {"encoder/metric": metric.detach(), "encoder/club": bound.detach()}
        return metrics | spread(z) | self.act_better(batch, z)

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor:
        """z of each task's context; to explore before there is any, uniformly random actions.

        The paper explores so in the first half of what it collects, and with z in the second; here
        in all episodes of exploration. On a robot a bundle explores as any other does.
        """
        nothing = all(batch.reward.shape[1] == 0 for batch in context)
        if nothing and not acting.likeliest:
            copies = sum(len(batch.reward) for batch in context)
            return RandomActor(self.normalisation, copies, device_of(self))
        return super().adapt(context, acting)


class RandomActor:
    """Uniformly random actions, whatever is seen: `fieldtune.train.agent.actor.Actor`."""

    def __init__(self, constants: Normalisation, copies: int, device: torch.device) -> None:
        self._constants, self._copies, self._device = constants, copies, device

    @property
    def embeddings(self) -> NDArray[np.float64]:
        return np.zeros((self._copies, 0))

    def begin(self, rng: Generator | None) -> None:
        """Nothing is held."""

    def act(self, s: Array, rng: Generator | None) -> Array:
        constants = self._constants
        where = self._device if rng is None else rng.device
        shape = len(s), len(constants.action_centre)
        drawn = torch.empty(shape, dtype=torch.float64, device=where).uniform_(-1, 1, generator=rng)
        return constants.action_centre + constants.action_half_range * to_numpy(drawn)


def club(points: Tensor, mean: Tensor, variance: Tensor, counted: Tensor | None) -> Tensor:
    """CLUB (Cheng et al. 2020), an upper bound on I(z; s, a) within a task, mean over tasks:
    the mean of log q(zᵢ|sᵢ,aᵢ), less that of log q(zⱼ|sᵢ,aᵢ) over all j of the context.

    Args:
        points: zᵢ, `(task, transition, latent)`.
        mean, variance: of q(z|sᵢ,aᵢ), likewise; without gradients.
        counted: as `Batch.counted`.
    """
    own = (points - mean).square()
    share = shares(points, counted)
    centre = (share * points).sum(dim=1, keepdim=True)
    scatter = (share * (points - centre).square()).sum(dim=1, keepdim=True)
    others = (centre - mean).square() + scatter  # the mean over j of (zⱼ − mean)²
    found = 0.5 * ((others - own) / variance).sum(dim=-1)
    return mean_of_rows(found, counted)


def log_density(z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(z; mean, variance) up to a constant, summed over the latent: `(..., latent)` to
    `(...,)`."""
    return -0.5 * ((z - mean).square() / variance + variance.log()).sum(dim=-1)


def mean_of_rows(values: Tensor, counted: Tensor | None) -> Tensor:
    """Mean over tasks of the mean over their rows that count, `(task, transition)`."""
    return (shares(values.unsqueeze(-1), counted).squeeze(-1) * values).sum(dim=1).mean()


def shares(rows: Tensor, counted: Tensor | None) -> Tensor:
    """What each row is of its task's mean, `(task, transition, 1)`; of none that counts, 0."""
    if counted is None:
        return torch.full_like(rows[..., :1], 1.0 / max(1, rows.shape[1]))
    return (counted / counted.sum(dim=1, keepdim=True).clamp(min=1.0)).unsqueeze(-1)
