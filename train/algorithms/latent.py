"""What SMAC and all that infer z share: an agent, adapting by its z, and the way to a bundle.

Knows no losses and no updates: those are each algorithm's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.graphs import PolicyGraphs
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithms.optimisation import adam
from fieldtune.train.config import EncoderSettings
from fieldtune.train.data.replay import Batch

Settings = TypeVar("Settings", bound=EncoderSettings)


class LatentAlgorithm(ABC, Generic[Settings]):
    """Networks, settings, and an optimiser for each group of networks that learns.

    Exportable (`fieldtune.train.algorithms.algorithm`).

    Attributes:
        agent_class: of its networks.
    """

    agent_class: ClassVar[type[Agent]] = Agent
    capturable = True  # see `fieldtune.train.algorithms.algorithm.capturable`

    def __init__(self, agent: Agent, settings: Settings, learning_rate: float) -> None:
        self.agent, self.settings = agent, settings
        self.optimisers = {
            name: adam(learning_rate, *networks) for name, networks in self.learning().items()
        }

    @abstractmethod
    def learning(self) -> dict[str, tuple[nn.Module, ...]]:
        """The networks that one optimiser trains together, by its name in checkpoints."""

    @classmethod
    def fresh(
        cls,
        shape: Shape,
        normalisation: Normalisation,
        settings: Settings,
        learning_rate: float,
    ) -> Self:
        """One that has learned nothing: `fieldtune.train.algorithms.registry.AlgorithmClass`."""
        return cls(cls.agent_class(shape, settings, normalisation), settings, learning_rate)

    @property
    def networks(self) -> nn.Module:
        return self.agent

    @property
    def learns_decoder(self) -> bool:
        """See `fieldtune.train.algorithms.algorithm.learns_decoder`."""
        return any(self.agent.decoder in networks for networks in self.learning().values())

    @property
    def normalisation(self) -> Normalisation:
        return self.agent.normalisation

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor:
        """Infer z from each task's context, and act with it."""
        return self.agent.adapt(context, acting)

    def graphs(self) -> PolicyGraphs:
        """What a bundle is made from; follows the weights."""
        return PolicyGraphs.of(self.agent)

    @torch.no_grad()
    def embedding(self, context: Batch) -> Tensor:
        """z ~ q(z|h), `(task, latent)`."""
        return sample(*self.agent.infer(context))
