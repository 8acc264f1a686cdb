"""Where in a family's task space a z lies: z has no unit, a velocity or a place has.

A regression on the training tasks, whose parameters and whose z are both known: the mean of the
tasks whose z are nearest. A z far from all of them is thus read as those that it is least far from.
Knows replays and agents; draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field
from fieldtune.train.agent.agent import Agent
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import to_numpy

Floats = NDArray[np.float64]

CONTEXT = 128  # transitions, as a particle's
CONTEXTS = 4  # of each task, whose posterior means are averaged
_TURN = 360.0


@dataclass(frozen=True)
class TaskMap:
    """Training tasks by z and by their own parameters.

    Attributes:
        z: where each task lies by its offline data, `(task, latent)`.
        tasks: their parameters, `(task, parameter)`.
        turning: of each parameter, whether it is an angle in degrees, `(parameter,)`.
        nearest: how many tasks a mean is of.
    """

    z: Floats
    tasks: Floats
    turning: tuple[bool, ...]
    nearest: int

    @classmethod
    def of(
        cls, agent: Agent, offline: Replay, tasks: Array, fields: tuple[Field, ...], seed: int
    ) -> TaskMap:
        """The map of a trained agent.

        Args:
            agent: whose encoder says where the tasks lie: it is right on offline data.
            offline: the training tasks' offline data, in its units; tasks without any are left out.
            tasks: `(task, parameter)`, in the order of `offline`.
            fields: what the parameters are.
            seed: of the contexts.
        """
        rng = np.random.default_rng(seed)
        known = offline.tasks_with_data
        with torch.no_grad():
            means = [
                agent.infer(offline.context(rng, known, CONTEXT, None))[0] for _ in range(CONTEXTS)
            ]
        z = to_numpy(torch.stack(means).mean(dim=0).double())
        turning = tuple(turns(field) for field in fields for _ in range(field.width))
        return cls(z, tasks[known], turning, nearest=min(len(known), len(turning) + 1))

    def __call__(self, z: Floats) -> Floats:
        """The parameters `(n, parameter)` of z `(n, latent)`: of the nearest tasks, each counting
        as the inverse of its squared distance; of angles, the mean direction."""
        return self._mean(z, np.ones((len(z), len(self.z)), dtype=np.bool_))

    def error(self) -> float:
        """How far off the map is on a training task that is left out of it: the median distance, in
        the parameters' own unit."""
        others = ~np.eye(len(self.z), dtype=np.bool_)
        return float(np.median(self.distance(self._mean(self.z, others), self.tasks)))

    def distance(self, one: Floats, other: Floats) -> Floats:
        """Between tasks `(..., parameter)`, along the shorter way where a parameter turns."""
        apart = np.abs(one - other)
        around = np.where(self.turning, np.minimum(apart % _TURN, -apart % _TURN), apart)
        return np.linalg.norm(around, axis=-1)

    def _mean(self, z: Floats, allowed: NDArray[np.bool_]) -> Floats:
        """As `__call__`, of the tasks that are `allowed` `(n, task)` for each z."""
        squared = np.square(z[:, None] - self.z[None]).sum(axis=-1)
        squared = np.where(allowed, squared, np.inf)
        chosen = np.argsort(squared, axis=1)[:, : self.nearest]
        close = 1.0 / np.maximum(np.take_along_axis(squared, chosen, axis=1), 1e-12)
        close /= close.sum(axis=1, keepdims=True)
        angles = np.deg2rad(self.tasks)
        straight = np.einsum("nk,nkp->np", close, self.tasks[chosen])
        east = np.einsum("nk,nkp->np", close, np.cos(angles)[chosen])
        north = np.einsum("nk,nkp->np", close, np.sin(angles)[chosen])
        return np.where(self.turning, np.rad2deg(np.arctan2(north, east)) % _TURN, straight)


def turns(field: Field) -> bool:
    """Whether a parameter is a direction: 0 and its highest value are the same."""
    return field.unit == "degrees" and all(
        high - low == _TURN for low, high in zip(field.low, field.high, strict=True)
    )
