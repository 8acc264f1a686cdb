"""A policy that is told the task: its parameters stand where others have z.

What a policy could do if nothing had to be inferred. No robot is told, so that no bundle has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from fieldtune.sim.family import Array, Field, rewarded
from fieldtune.train.agent.actor import MEAN_ACTION, act_by
from fieldtune.train.agent.networks import DEFAULT, Policy
from fieldtune.train.agent.normalisation import CONSTANT, Normalisation
from fieldtune.train.config import Distribution
from fieldtune.train.device import device_of, from_numpy

INDEX = "index"  # unit of a parameter that says which: told as one number for each it may be


def as_told(fields: tuple[Field, ...], tasks: Array) -> Array:
    """What rewards depend on of `tasks` `(..., parameter)`; which of several by one number each."""
    columns, first = [], 0
    for field in fields:
        part = tasks[..., first : first + field.width]
        first += field.width
        if field.unit == INDEX:
            columns.append((part == np.arange(field.low[0], field.high[0] + 1)).astype(float))
        elif rewarded((field,)).any():
            columns.append(part)
    return np.concatenate(columns, axis=-1)


class ToldPolicy(nn.Module):
    """π(a|s, task), in training units; tasks as far from each other as z would be.

    Args:
        fields: of the family's tasks.
        tasks: those it is to learn, `(task, parameter)`: their spread is the unit.
        normalisation: of observations and actions.
        action: size of one.
        hidden: widths of the layers.
        distribution: of the policy.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        fields: tuple[Field, ...],
        tasks: Array,
        normalisation: Normalisation,
        action: int,
        hidden: Sequence[int],
        distribution: Distribution = DEFAULT,
    ) -> None:
        super().__init__()
        told = as_told(fields, tasks)
        deviation = told.std(axis=0)
        self._fields, self.normalisation = fields, normalisation
        self.register_buffer("mean", from_numpy(told.mean(axis=0)))
        self.register_buffer("deviation", from_numpy(np.where(deviation < CONSTANT, 1, deviation)))
        observation = len(normalisation.observation_mean)
        self.policy = Policy(observation, action, told.shape[1], hidden, distribution)

    def task(self, tasks: Array) -> Tensor:
        """Tasks `(..., parameter)` as the policy is told them, `(..., number)`."""
        told = from_numpy(as_told(self._fields, tasks), device_of(self))
        return ((told - self.mean) / self.deviation).float()


class ToldActor:
    """Implements `fieldtune.train.agent.actor.Actor` with the mean action, a task a copy."""

    def __init__(self, told: ToldPolicy, tasks: Array) -> None:
        self._told, self._tasks = told, told.task(tasks)

    @property
    def embeddings(self) -> NDArray[np.float64]:
        """Nothing is inferred."""
        return np.zeros((len(self._tasks), 0))

    def begin(self, rng: Generator | None) -> None:
        """Nothing is drawn."""

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        told = self._told
        return act_by(told.policy, told.normalisation, s, self._tasks, MEAN_ACTION, rng)
