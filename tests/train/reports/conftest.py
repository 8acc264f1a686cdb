"""An agent that has learned nothing, for what is filmed and drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fieldtune.sim.family import TaskFamily, bounds, width
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.config import LatentSettings


@pytest.fixture
def untrained() -> Callable[[TaskFamily], Agent]:
    """`untrained(family)`: its agent, the same each time."""

    def make(family: TaskFamily) -> Agent:
        torch.manual_seed(0)
        observations = width(family.observation_fields)
        low, high = bounds(family.action_fields)
        data = np.random.default_rng(0).normal(size=(10, observations))
        constants = Normalisation.of(data, data[:, 0], low, high)
        return Agent(Shape(observations, len(low)), LatentSettings(name="any"), constants)

    return make
