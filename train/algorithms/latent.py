"""What SMAC and its baselines share: an agent that infers z, and adapts by inferring it.

Knows no losses and no updates: those are each algorithm's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from torch import nn
from torch.optim import Adam

from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.config import LatentSettings
from fieldtune.train.data.replay import Batch

Settings = TypeVar("Settings", bound=LatentSettings)


class LatentAlgorithm(Generic[Settings]):
    """Networks and settings; each algorithm has `optimisers` of its own, by name."""

    optimisers: dict[str, Adam]

    def __init__(self, agent: Agent, settings: Settings) -> None:
        self.agent, self.settings = agent, settings

    @property
    def networks(self) -> nn.Module:
        return self.agent

    @property
    def normalisation(self) -> Normalisation:
        return self.agent.normalisation

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor:
        """Infer z from each task's context, and act with it."""
        return self.agent.adapt(context, acting)
