"""What every algorithm offers to the phases, and what only some of them do.

An algorithm is one file beside this one and one line of `fieldtune/plugins.py`. Protocols only:
nothing has to be inherited, and what can do more is recognised by its methods
(docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from fieldtune.train import config
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.graphs import PolicyGraphs
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.data.replay import Batch

Metrics = dict[str, Tensor | float]
"""Of one update by name: numbers, or tensors of no dimension, without gradients, where they were
computed. Reading one waits for the GPU: `fieldtune.train.runs.readings` does it now and then."""


class Checkpointable(Protocol):
    """Networks and their optimisers by name: a checkpoint holds both, and both resume bit for bit.

    Networks with a `normalisation` have its constants saved and restored with their weights.
    """

    @property
    def networks(self) -> nn.Module: ...

    @property
    def optimisers(self) -> Mapping[str, Optimizer]: ...


class Algorithm(Checkpointable, Protocol):
    """Learns from labelled data of many tasks, and adapts to a task from a context of it.

    One that learns from Monte-Carlo returns says so by an attribute `return_discount`
    (`fieldtune.train.agent.units.return_discount`); one that cannot be exported may say why by
    `why_not_exported` (`fieldtune.train.runs.capabilities`), and one without an encoder what else
    it adapts by, for tables (`adapts_by`, of the class).
    """

    @property
    def normalisation(self) -> Normalisation:
        """From physical units to those of every `Batch`."""
        ...

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One update from labelled data: `context` and `batch` are independent draws, each
        `(task, transition, ...)`, of the same tasks."""
        ...

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor:
        """A policy for each task of `context`; the weights stay as they are.

        Args:
            context: `(task, transition, ...)` each, one after another, since tasks of which not
                equally much is known do not stack. No transition at all means: before any.
            acting: how actions are drawn; an algorithm leaves aside what it does not have.
        """
        ...


def capturable(algorithm: Algorithm) -> bool:
    """Whether it says, by an attribute `capturable`, that a CUDA graph can hold its updates.

    They then read nothing back from the device, change weights and buffers in place, and leave out
    of a context what its `counted` leaves out. An algorithm that says nothing is never captured,
    and its contexts are whole.
    """
    return bool(getattr(algorithm, "capturable", False))


def learns_decoder(algorithm: Algorithm) -> bool:
    """Whether its updates train the decoder that its agent has; so it is of one that says nothing.

    To one that says otherwise, by an attribute `learns_decoder`, a decoder is given afterwards
    (`fieldtune.train.runs.added_decoder`).
    """
    return bool(getattr(algorithm, "learns_decoder", True))


@dataclass(frozen=True)
class WholeEpisodes:
    """What context and batch consist of, for an algorithm that learns from episodes in their order.

    Attributes:
        trials: of each task of a meta-batch; they stand one after another along the first
            dimension, `(task · trial, transition, ...)`.
        episodes: of a trial, one after another (`fieldtune.train.data.replay.Replay.episodes`).
    """

    trials: int
    episodes: int


def whole_episodes(algorithm: object) -> WholeEpisodes | None:
    """What it asks for by an attribute `whole_episodes`; None where single transitions will do.

    It is then never captured, and an offline context of a test is of whole episodes too.
    """
    return getattr(algorithm, "whole_episodes", None)


@runtime_checkable
class SelfSupervised(Algorithm, Protocol):
    """Has a phase 2: labels exploration by its own decoder, and learns from that."""

    @property
    def agent(self) -> Agent:
        """Networks whose decoder makes the labels."""
        ...

    def self_supervised_update(
        self,
        context: Batch,
        batch: Batch,
        phase: config.SelfSupervised,
        *,
        true_rewards: bool = False,
    ) -> Metrics:
        """One update on offline data and labelled exploration together.

        Args:
            context, batch: as in `update`.
            phase: the settings of phase 2.
            true_rewards: whether exploration carries the family's rewards (the oracle's).
        """
        ...


@runtime_checkable
class Exportable(Algorithm, Protocol):
    """Can be put into a bundle, which a robot runs without torch (docs/bundle.md), and infer z by
    the likelihood of its decoder (docs/inference.md)."""

    @property
    def agent(self) -> Agent:
        """Networks by whose encoder and decoder a robot infers."""
        ...

    def graphs(self) -> PolicyGraphs:
        """The agent's networks in physical units; they follow the weights as these learn."""
        ...

    def embedding(self, context: Batch) -> Tensor:
        """z drawn from what `context` `(task, transition, ...)` says, `(task, latent)`."""
        ...
