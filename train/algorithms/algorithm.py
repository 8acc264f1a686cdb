"""What every algorithm offers to the phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch.optim import Adam

from fieldtune.train.data.replay import Batch

if TYPE_CHECKING:
    from fieldtune.train.agent.agent import Agent


Metrics = dict[str, float]


class Learner(Protocol):
    """An agent with its optimisers; a checkpoint holds both, and either resumes bit for bit."""

    agent: Agent
    optimisers: dict[str, Adam]

    def offline_update(self, context: Batch, batch: Batch) -> Metrics:
        """One update from labelled data: `context` and `batch` are independent draws, each
        `(task, transition, ...)`, of the same tasks."""
        ...
