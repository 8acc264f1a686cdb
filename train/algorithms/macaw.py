"""MACAW: it adapts to a task by gradient steps on its context, first of V and then of the policy.

Mitchell, Rafailov, Peng, Levine and Finn 2021 (arXiv 2008.06043, ICML). It has no encoder and no z:
what it knows of a task is weights. One meta-update, readable top to bottom; knows nothing of files.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fieldtune.errors import UserError
from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.posterior import normal_like
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.algorithms.weight_transform import (
    GENERATING,
    Weights,
    WeightTransform,
    as_they_are,
    gradient_steps,
    layers,
)
from fieldtune.train.config import AlgorithmSettings, Networks
from fieldtune.train.data.replay import Ahead, Batch, stack_tasks
from fieldtune.train.device import CPU, device_of, from_numpy, to_numpy

HEAD = 32  # width of the advantage head, as released
LEAST_SPREAD = 1e-6  # that advantages are divided by


class AdaptationDiverged(UserError):
    """A context's gradient steps ended in nothing that acts. The message says the cure."""


class MacawSettings(AlgorithmSettings):
    """Of `networks` it has the widths `policy`, and `critic` for V."""

    name: Literal["macaw"] = "macaw"
    networks: Networks = Networks()
    code_size: int = Field(
        default=16, ge=1, le=10_000, description="width of the code that generates a layer"
    )
    inner_steps: int = Field(
        default=1, ge=1, le=100, description="gradient steps of adaptation, of V and of the policy"
    )
    value_inner_rate: float = Field(
        default=0.01,
        gt=0,
        description="learning rate of V's adaptation at first, of every tensor; each is learned. "
        "Several inner steps diverge where it is large",
    )
    policy_inner_rate: float = Field(
        default=0.01, gt=0, description="likewise of the policy's adaptation"
    )
    rates_learning_rate: float = Field(
        default=1e-3, gt=0, description="Adam's, of the learning rates of adaptation and of λ"
    )
    value_learning_rate: float | None = Field(
        default=None, gt=0, description="Adam's, of V; null: the policy's, `learning_rate`"
    )
    advantage_weight: float = Field(
        default=0.01, gt=0, description="λ of the advantage head in adaptation, at first"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="of advantages, which are standardised in each task's rows"
    )
    clip: float = Field(default=20.0, gt=1, description="the largest weight of a transition")
    action_std: float = Field(
        default=0.2, gt=0, le=1, description="of the policy, in half ranges of an action"
    )
    bootstrap: bool = Field(
        default=True,
        description="count what follows a time limit as V says, but for V's own adaptation, as "
        "released; false: as the data's mean reward",
    )

    @field_validator("precision")
    @classmethod
    def _whole(cls, precision: str) -> str:
        if precision != "float32":
            raise ValueError(
                "expected float32: the gradient of a gradient needs more than bfloat16's digits"
            )
        return precision


class MacawPolicy(nn.Module):
    """π(a|s), a Gaussian of fixed spread, and A(s,a), which has all but the last layer of it."""

    def __init__(self, shape: Shape, hidden: Sequence[int], code: int) -> None:
        super().__init__()
        head = [hidden[-1] + shape.action, HEAD, 1]
        self._body = len(hidden)
        self.layers = nn.ModuleList(
            [*layers([shape.observation, *hidden, shape.action], code), *layers(head, code)]
        )

    def forward(self, weights: Weights, s: Tensor) -> Tensor:
        """Each task's mean action in [−1, 1], `(task, row, action)`."""
        last = self._body
        return torch.tanh(self.layers[last](weights[last], self._features(weights, s)))

    def advantage(self, weights: Weights, s: Tensor, a: Tensor) -> Tensor:
        """A(s,a) of each task, `(task, row)`."""
        head = self._body + 1
        known = torch.cat([self._features(weights, s), a], dim=-1)
        hidden = F.relu(self.layers[head](weights[head], known))
        found: Tensor = self.layers[head + 1](weights[head + 1], hidden)
        return found.squeeze(-1)

    def _features(self, weights: Weights, s: Tensor) -> Tensor:
        for layer, own in zip(self.layers[: self._body], weights, strict=False):
            s = F.relu(layer(own, s))
        return s


class MacawValue(nn.Module):
    """V(s), in discounted averages of standardised rewards (`Macaw.returns`)."""

    def __init__(self, shape: Shape, hidden: Sequence[int], code: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers([shape.observation, *hidden, 1], code))

    def forward(self, weights: Weights, s: Tensor) -> Tensor:
        """V(s) of each task, `(task, row)`."""
        *hidden, last = zip(self.layers, weights, strict=True)
        for layer, own in hidden:
            s = F.relu(layer(own, s))
        found: Tensor = last[0](last[1], s)
        return found.squeeze(-1)


class Rates(nn.Module):
    """Learning rates of adaptation, one for each learned tensor of each layer, and λ: positive,
    since it is softplus of what is learned, as released."""

    def __init__(self, value: MacawValue, policy: MacawPolicy, settings: MacawSettings) -> None:
        super().__init__()
        self.value = _before_softplus(settings.value_inner_rate, len(value.layers), GENERATING)
        self.policy = _before_softplus(settings.policy_inner_rate, len(policy.layers), GENERATING)
        self.advantage = _before_softplus(settings.advantage_weight)


class MacawNetworks(nn.Module):
    """What a checkpoint holds: θ, φ and the learning rates of adaptation."""

    def __init__(self, shape: Shape, settings: MacawSettings, normalisation: Normalisation) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.policy = MacawPolicy(shape, settings.networks.policy, settings.code_size)
        self.value = MacawValue(shape, settings.networks.critic, settings.code_size)
        self.rates = Rates(self.value, self.policy, settings)


class Macaw:
    """Algorithm 1 of the paper. `fieldtune.train.algorithms.algorithm.Algorithm`; it has no phase 2
    and no bundle.

    As released: advantages are standardised within a task's rows, learning rates and λ are learned.
    Otherwise than there, V is in units that do not grow with the horizon (`returns`).
    """

    Settings = MacawSettings
    adapts_by = "gradient steps"
    why_not_exported = (
        "it adapts by gradient steps on its own weights, which a bundle's graphs cannot take"
    )

    def __init__(
        self, networks: MacawNetworks, settings: MacawSettings, learning_rate: float
    ) -> None:
        self.networks, self.settings = networks, settings
        self.optimisers = {
            "policy": adam(learning_rate, networks.policy),
            "value": adam(settings.value_learning_rate or learning_rate, networks.value),
            "rates": adam(settings.rates_learning_rate, networks.rates),
        }

    @classmethod
    def fresh(
        cls,
        shape: Shape,
        normalisation: Normalisation,
        settings: MacawSettings,
        learning_rate: float,
    ) -> Macaw:
        """One that has learned nothing: `fieldtune.train.algorithms.registry.AlgorithmClass`."""
        return cls(MacawNetworks(shape, settings, normalisation), settings, learning_rate)

    @property
    def normalisation(self) -> Normalisation:
        return self.networks.normalisation

    @property
    def return_discount(self) -> float:
        """Batches carry Monte-Carlo returns: `fieldtune.train.agent.units.return_discount`."""
        return self.settings.discount

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of the outer loop: both losses on `batch`, after adaptation to `context`.

        φ ← φ − η₂ Σᵢ ∇φ L_V(φ′ᵢ, Dᵢᵗˢ) and θ ← θ − α₂ Σᵢ ∇θ L_AWR(θ′ᵢ, φ′ᵢ, Dᵢᵗˢ) (sec. 4.2), with
        means for sums and Adam for plain steps. Advantages are numbers to the policy.
        """
        value = self.adapted_value(context, differentiable=True)
        policy = self.adapted_policy(context, value, differentiable=True)
        value_loss = self.value_loss(value, batch, self._beyond(value, batch)).mean()
        policy_loss = self.awr_loss(policy, batch, self.advantages(value, batch)).mean()
        gradient_step(value_loss + policy_loss, *self.optimisers.values())
        rates = self.networks.rates
        return {
            "value/loss": value_loss.detach(),
            "actor/loss": policy_loss.detach(),
            "rates/value": F.softplus(rates.value.detach()).mean(),
            "rates/policy": F.softplus(rates.policy.detach()).mean(),
            "rates/advantage_weight": F.softplus(rates.advantage.detach()),
        }

    def adapted_value(self, context: Batch, *, differentiable: bool) -> Weights:
        """φ′ᵢ = φ − η₁ ∇φ L_V(φ, Dᵢᵗʳ) (sec. 4.1), of each task of `context`."""
        return gradient_steps(
            _of(self.networks.value),
            F.softplus(self.networks.rates.value),
            partial(self.value_loss, rows=context),
            tasks=len(context.reward),
            steps=self.settings.inner_steps,
            differentiable=differentiable,
        )

    def adapted_policy(self, context: Batch, value: Weights, *, differentiable: bool) -> Weights:
        """θ′ᵢ = θ − α₁ ∇θ L_π(θ, φ′ᵢ, Dᵢᵗʳ) with L_π = L_AWR + λ·L_ADV (sec. 4.1): by the head the
        gradient says what each action was worth, where L_AWR alone may be the same for two tasks.

        Args:
            context: `(task, transition, ...)`.
            value: φ′.
            differentiable: as in `gradient_steps`.
        """
        advantages = self.advantages(value, context)
        weight = F.softplus(self.networks.rates.advantage)

        def loss(weights: Weights) -> Tensor:
            awr = self.awr_loss(weights, context, advantages)
            return awr + weight * self.advantage_loss(weights, context, advantages)

        return gradient_steps(
            _of(self.networks.policy),
            F.softplus(self.networks.rates.policy),
            loss,
            tasks=len(context.reward),
            steps=self.settings.inner_steps,
            differentiable=differentiable,
        )

    def returns(self, rows: Batch, beyond: Tensor | float = 0.0) -> Tensor:
        """R(s,a), `(task, row)`: (1−γ)·Σ γ^j·r of standardised rewards to the episode's end, and
        what comes after it at γ^k.

        After a terminal state it is a reward of 0 for ever, in the family's units.

        Args:
            rows: `(task, row, ...)` that look to their ends.
            beyond: what a state at a time limit is worth, `(task, row)`; 0 is the data's mean
                reward for ever.
        """
        end, constants = _to_end(rows), self.normalisation
        nothing = -constants.reward_mean / constants.reward_std
        after = end.done * nothing + (1.0 - end.done) * beyond
        return (1.0 - self.settings.discount) * end.reward + end.discount * after

    def value_loss(self, weights: Weights, rows: Batch, beyond: Tensor | float = 0.0) -> Tensor:
        """L_V: (V(s) − R(s,a))², each task's mean, `(task,)`; `beyond` as in `returns`."""
        wrong = self.networks.value(weights, rows.observation) - self.returns(rows, beyond)
        return (_share(rows) * wrong.square()).sum(dim=1)

    @torch.no_grad()
    def advantages(self, value: Weights, rows: Batch) -> Tensor:
        """R(s,a) − V(s) with φ′, `(task, row)`, a number."""
        return self.returns(rows, self._beyond(value, rows)) - self.networks.value(
            value, rows.observation
        )

    def awr_loss(self, weights: Weights, rows: Batch, advantages: Tensor) -> Tensor:
        """L_AWR: −log π(a|s)·exp(A/T), each task's mean, `(task,)`; A standardised, and the weight
        clipped."""
        share, settings = _share(rows), self.settings
        centred = advantages - (share * advantages).sum(dim=1, keepdim=True)
        spread = (share * centred.square()).sum(dim=1, keepdim=True).sqrt()
        standard = centred / spread.clamp(min=LEAST_SPREAD)
        weight = (standard / settings.temperature).clamp(max=math.log(settings.clip)).exp()
        mean, std = self.networks.policy(weights, rows.observation), settings.action_std
        nats = 0.5 * ((rows.action - mean) / std).square() + math.log(std * math.sqrt(2 * math.pi))
        return (share * weight * nats.sum(dim=-1)).sum(dim=1)

    def advantage_loss(self, weights: Weights, rows: Batch, advantages: Tensor) -> Tensor:
        """L_ADV: (A_θ(s,a) − (R(s,a) − V(s)))², each task's mean, `(task,)`."""
        found = self.networks.policy.advantage(weights, rows.observation, rows.action)
        return (_share(rows) * (found - advantages).square()).sum(dim=1)

    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> MacawActor:
        """Gradient steps on each task's context; of no transition, none.

        Raises:
            AdaptationDiverged: they left weights that are no numbers.
        """
        tasks = [row for batch in context for row in _by_task(batch)]
        by_length = defaultdict(list)
        for place, rows in enumerate(tasks):
            by_length[rows.reward.shape[1]].append(place)
        found: dict[int, Weights] = {}
        for places in by_length.values():
            weights = self._adapted(stack_tasks([tasks[place] for place in places]))
            self._require_numbers(weights)
            for index, place in enumerate(places):
                found[place] = [layer[index] for layer in weights]
        each = zip(*(found[place] for place in range(len(tasks))), strict=True)
        return MacawActor(
            self.networks, [torch.stack(layer) for layer in each], self.settings.action_std, acting
        )

    def _require_numbers(self, weights: Weights) -> None:
        if not all(bool(layer.isfinite().all()) for layer in weights):
            settings = self.settings
            raise AdaptationDiverged(
                f"macaw: {settings.inner_steps} gradient steps on a context left weights that are "
                "no numbers: fewer inner_steps, or train anew with smaller value_inner_rate "
                f"{settings.value_inner_rate} and policy_inner_rate {settings.policy_inner_rate}"
            )

    def _adapted(self, rows: Batch) -> Weights:
        """θ′ of contexts of one length, numbers."""
        tasks, length = rows.reward.shape
        if not length:
            return [each.detach() for each in as_they_are(_of(self.networks.policy), tasks)]
        with torch.enable_grad():
            value = self.adapted_value(rows, differentiable=False)
            return self.adapted_policy(rows, value, differentiable=False)

    @torch.no_grad()
    def _beyond(self, value: Weights, rows: Batch) -> Tensor | float:
        """What φ′ says of the state that each row's episode ends in, `(task, row)`, a number."""
        if not self.settings.bootstrap:
            return 0.0
        found: Tensor = self.networks.value(value, _to_end(rows).observation)
        return found


class MacawActor:
    """Each copy acts by weights of its own. What it knows is in no numbers to draw.

    Args:
        networks: whose policy has these `weights`, `(copy, ...)` of each layer.
        std: of its actions, in half ranges.
        acting: how actions are drawn; there is no z.
    """

    def __init__(
        self, networks: MacawNetworks, weights: Weights, std: float, acting: Acting
    ) -> None:
        self._networks, self._weights = networks, weights
        self._spread = std * acting.noise

    @property
    def embeddings(self) -> NDArray[np.float64]:
        return np.zeros((len(self._weights[0]), 0))

    def begin(self, rng: Generator | None) -> None:
        """Nothing is held for an episode."""

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        """See `fieldtune.train.agent.actor.Actor`."""
        constants = self._networks.normalisation
        observed = from_numpy(constants.observation(s), device_of(self._networks)).unsqueeze(1)
        action = self._networks.policy(self._weights, observed).squeeze(1)
        if self._spread > 0:
            action = (action + self._spread * normal_like(action, rng)).clamp(-1.0, 1.0)
        acted = to_numpy(action.double())
        return constants.action_centre + constants.action_half_range * acted


def _of(net: MacawPolicy | MacawValue) -> list[WeightTransform]:
    return [layer for layer in net.layers if isinstance(layer, WeightTransform)]


def _share(rows: Batch) -> Tensor:
    """What each row has in its task's mean, `(task, row)`."""
    return rows.belonging / rows.belonging.sum(dim=1, keepdim=True)


def _to_end(rows: Batch) -> Ahead:
    assert rows.to_end is not None  # `Macaw.return_discount` asks for it
    return rows.to_end


def _by_task(batch: Batch) -> list[Batch]:
    """Of one task each, `(1, transition, ...)`."""
    return [
        batch.each(lambda column, place=place: column[place : place + 1])  # type: ignore[misc]
        for place in range(len(batch.reward))
    ]


def _before_softplus(value: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, math.log(math.expm1(value)), device=CPU))
