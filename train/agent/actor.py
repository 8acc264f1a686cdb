"""A policy that has adapted and acts: what evaluation, exploration and films are handed.

Knows networks and units; not how what it acts on was inferred, nor simulators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from fieldtune.robot.config import ExplorationConfig
from fieldtune.sim.family import Array
from fieldtune.train.agent.networks import Policy
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.posterior import sample, with_factors
from fieldtune.train.agent.squashed_gaussian import squashed_sample
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import from_numpy, to_numpy

ZHold = Literal["episode", "step"] | int


@dataclass(frozen=True)
class Acting:
    """How actions are drawn.

    Attributes:
        z_hold: whether z is drawn once an episode, anew at each step, or every so many.
        noise: of actions, in the policy's own spread; at 0 they are its mean.
        likeliest: act with the likeliest z, where inference knows one, and not with a draw.
        follows_rewards: go on with the likeliest z by the rewards so far, where inference knows
            one: of exploration with true rewards, and of none without.
    """

    z_hold: ZHold = "episode"
    noise: float = 1.0
    likeliest: bool = False
    follows_rewards: bool = False

    @classmethod
    def like_the_robot(cls, exploration: ExplorationConfig) -> Acting:
        """As a robot of these settings explores without rewards."""
        hold = exploration.z_hold
        return cls(hold if isinstance(hold, int) else hold.value, exploration.action_noise)

    @classmethod
    def with_rewards(cls, exploration: ExplorationConfig) -> Acting:
        """As a robot of these settings explores where it is told rewards as they come."""
        acting = cls.like_the_robot(exploration)
        return replace(acting, follows_rewards=exploration.follow_rewards)

    def draws_at(self, step: int) -> bool:
        """Whether z is drawn anew before this step of an episode, the first of which is 0."""
        if self.z_hold == "episode":
            return False
        every = self.z_hold if isinstance(self.z_hold, int) else 1
        return step > 0 and step % every == 0


MEAN_ACTION = Acting(noise=0.0, likeliest=True)  # of the episodes that are reported


class Actor(Protocol):
    """Acts in copies of a robot side by side, each for a task of its own."""

    @property
    def embeddings(self) -> NDArray[np.float64]:
        """What it knows of each copy's task, `(copy, number)`, for figures; no column if that is
        not in numbers."""
        ...

    def begin(self, rng: Generator | None) -> None:
        """An episode begins: draw what is held for the whole of it.

        Args:
            rng: of the draw; the global random state of the device it acts on where None.
        """
        ...

    def act(self, s: Array, rng: Generator | None) -> Array:
        """Physical actions `(copy, action)` for physical observations `(copy, observation)`."""
        ...


@runtime_checkable
class HeedingActor(Actor, Protocol):
    """One that also adapts within an episode."""

    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        """A step was rewarded: act by it from now on.

        Args:
            s, a: `(copy, observation)` and `(copy, action)`, physical.
            r: true rewards, `(copy,)`.
            reached: s', `(copy, observation)`.
        """
        ...


def always_heeds(actor: Actor) -> TypeGuard[HeedingActor]:
    """Whether it says, by an attribute `always_heeds`, that it adapts within every episode.

    So does a policy on beliefs, which move at every step. Others are told of rewards as they come
    only where that is what is asked for (`fieldtune.train.evaluation.protocol`).
    """
    return bool(getattr(actor, "always_heeds", False))


class Adaptive(Protocol):
    """What adapts: an agent, or an algorithm (`fieldtune.train.algorithms.algorithm`)."""

    @property
    def normalisation(self) -> Normalisation: ...

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor: ...


Factors = Callable[[Batch], tuple[Tensor, Tensor]]
"""Of transitions `(copy, transition, ...)`: mean and variance, `(copy, transition, latent)`."""


class LatentActor:
    """π(a|s,z) with z ~ N(mean, variance), a row a copy.

    Args:
        mean, variance: `(copy, latent)`.
        factors: what one more transition adds to the posterior.
        weight: of what is known already, in that: 0 of a prior that is no factor, else 1,
            `(copy, 1)`.
    """

    def __init__(
        self,
        policy: Policy,
        normalisation: Normalisation,
        mean: Tensor,
        variance: Tensor,
        acting: Acting,
        factors: Factors,
        weight: float | Tensor = 1.0,
    ) -> None:
        self._policy, self._normalisation, self._acting = policy, normalisation, acting
        self._factors, self._weight = factors, weight
        self.mean, self.variance = mean, variance
        self._held, self._step = mean, 0

    @property
    def embeddings(self) -> NDArray[np.float64]:
        return to_numpy(self.mean.double())

    @torch.no_grad()
    def begin(self, rng: Generator | None) -> None:
        self._held, self._step = sample(self.mean, self.variance, rng), 0

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        if self._acting.draws_at(self._step):
            self._held = sample(self.mean, self.variance, rng)
        self._step += 1
        return act_by(self._policy, self._normalisation, s, self._held, self._acting, rng)

    @torch.no_grad()
    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        """See `HeedingActor.heed`; acts with the posterior's mean from now on."""
        step = rewarded_step(self._normalisation, s, a, r, reached, self.mean.device)
        known = self.mean, self.variance
        self.mean, self.variance = with_factors(*known, *self._factors(step), self._weight)
        self._weight = 1.0
        self._held = self.mean


def rewarded_step(
    normalisation: Normalisation,
    s: Array,
    a: Array,
    r: Array,
    reached: Array,
    device: torch.device,
) -> Batch:
    """One transition of each copy, `(copy, 1, ...)`, in training units: `HeedingActor.heed`.

    Its columns go to `device` together, in one transfer.
    """
    columns = (
        normalisation.observation(s),
        normalisation.action(a),
        normalisation.reward(r)[:, None],
        normalisation.observation(reached),
        np.zeros((len(r), 1), np.float32),
    )
    together = from_numpy(np.concatenate(columns, axis=1), device).unsqueeze(1)
    parts = together.split([column.shape[1] for column in columns], dim=-1)
    observation, action, reward, following, done = parts
    return Batch(observation, action, reward.squeeze(-1), following, done.squeeze(-1))


def act_by(
    policy: Policy,
    normalisation: Normalisation,
    s: Array,
    z: Tensor,
    acting: Acting,
    rng: Generator | None,
) -> Array:
    """Physical actions `(copy, action)` of π(a|s,z): observations go to the device of z in one
    transfer, and actions come back in one.

    Args:
        policy: in training units.
        normalisation: to and from them.
        s: physical observations, `(copy, observation)`.
        z: `(copy, latent)`.
        acting: whether actions are drawn, and how widely.
        rng: of the draws; the global random state of the device of z where None.
    """
    mean, log_std = policy(from_numpy(normalisation.observation(s), z.device), z)
    if acting.noise > 0:
        squashed = squashed_sample(mean, log_std, acting.noise, rng)
    else:
        squashed = torch.tanh(mean)
    acted = to_numpy(squashed.double())
    return normalisation.action_centre + normalisation.action_half_range * acted
