"""What the decoders leave unexplained of transitions, given z: what trains them, and a z.

Shared by all that learn a decoder, and by what gives one to an algorithm that learns none
(`fieldtune.train.runs.added_decoder`). Knows an agent's networks; no algorithm.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fieldtune.train.agent.agent import Agent
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Batch


class Unexplained(NamedTuple):
    """Errors, each a mean over rows: in r, and where dynamics vary in s', else None."""

    reward: Tensor
    dynamics: Tensor | None

    @property
    def both(self) -> Tensor:
        return self.reward if self.dynamics is None else self.reward + self.dynamics

    @property
    def metrics(self) -> Metrics:
        """The terms by name, without gradients."""
        found: Metrics = {"decoder/error": self.reward.detach()}
        if self.dynamics is not None:
            found["dynamics/unexplained"] = self.dynamics.detach()
        return found


def unexplained(agent: Agent, batch: Batch, z: Tensor) -> Unexplained:
    """(r(s,a,z) − r)², Pong et al. 2022, eq. 7; sparse rewards are classified instead:
    −log p(r|s,a,z). Where dynamics vary, what (s,a,z) leaves unexplained of s' too.

    Args:
        agent: whose decoders explain.
        batch: `(task, transition, ...)`.
        z: one for each task, `(task, latent)`.
    """
    rows = per_row(z, batch.reward.shape[1])
    predicted = agent.decoder(batch.observation, batch.action, rows).squeeze(-1)
    if agent.shape.sparse_reward:
        error = losses.success_loss(predicted, agent.success(batch.reward))
    else:
        error = losses.reconstruction_loss(predicted, batch.reward)
    if agent.dynamics is None:
        return Unexplained(error, None)
    moved = agent.dynamics(batch.observation, batch.action, rows)
    change = batch.next_observation - batch.observation
    return Unexplained(error, losses.dynamics_loss(moved.flatten(0, 1), change.flatten(0, 1)))
