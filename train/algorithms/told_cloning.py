"""Cloning what succeeded, told the task: what a policy can learn from a dataset at best.

No algorithm of a run: nobody tells a robot its task. It learns from the actions alone, so that what
it falls short of is the policy's or the data's, and no inference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fieldtune.sim.family import Array
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.told import ToldPolicy
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.optimisation import adam, gradient_step, place
from fieldtune.train.config import Distribution
from fieldtune.train.device import from_numpy, in_precision


@dataclass(frozen=True)
class Cloning:
    """How it is learned.

    Attributes:
        rows: of an update.
        learning_rate: Adam's.
        error_weight: of the mean action's error beside −log π (`losses.likeness`).
        precision: see `algorithm.precision`.
        edge: see `algorithm.distribution.action_edge`.
    """

    rows: int
    learning_rate: float
    error_weight: float = 0.0
    precision: str = "float32"
    edge: float = Distribution().action_edge


class ToldCloning:
    """π(a|s, task) made to repeat the actions of `episodes`.

    Args:
        networks: that learn, from weights drawn on the CPU.
        episodes: to be cloned.
        tasks: of each, `(episode, parameter)`.
        cloning: how.
        device: where it computes.
    """

    def __init__(
        self,
        networks: ToldPolicy,
        episodes: Sequence[LabelledEpisode],
        tasks: Array,
        cloning: Cloning,
        device: torch.device,
    ) -> None:
        self.networks, self.cloning = networks, cloning
        self.optimisers = {"policy": adam(cloning.learning_rate, networks.policy)}
        place(self, device)
        seen = np.concatenate([one.observations[:-1] for one in episodes])
        acted = np.concatenate([one.actions for one in episodes])
        self.rows = len(seen)
        steps = torch.tensor([one.steps for one in episodes], device=device)
        self._observations = from_numpy(networks.normalisation.observation(seen), device)
        self._actions = from_numpy(networks.normalisation.action(acted), device)
        self._tasks = networks.task(tasks).repeat_interleave(steps, dim=0)

    def update(self, rng: np.random.Generator) -> Metrics:
        """One step on −log π(a|s, task) of rows that `rng` draws."""
        device = self._tasks.device
        drawn = from_numpy(rng.integers(self.rows, size=self.cloning.rows), device)
        with in_precision(self.cloning.precision, device):
            mean, log_std = self.networks.policy(self._observations[drawn], self._tasks[drawn])
        edge, weight = self.cloning.edge, self.cloning.error_weight
        likeness = losses.likeness(mean, log_std, self._actions[drawn], edge, weight).mean()
        gradient_step(-likeness, *self.optimisers.values())
        return {"actor/loss": -likeness.detach()}
