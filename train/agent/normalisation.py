"""The change from physical to training units, and how far a network may be led by one number.

Holds constants taken from the data, the least deviation that an observation is divided by, and the
range that networks were trained in. Knows fields by their unit and bounds; no network, no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, Truths
from fieldtune.train.data.admission import is_spread

Constant = NDArray[np.float32] | float

# The least deviation by unit: about what a robot's own sensors err by. Below it, a change in the
# data says nothing that can be told from noise on a robot.
FLOORS = {
    "m": 5e-3,  # calibration of a hand, error of a tracker
    "mm": 5.0,
    "m/s": 2e-2,
    "mm/s": 20.0,
    "rad": 1e-2,  # play and calibration of a joint
    "rad/s": 5e-2,  # differences of an encoder's counts at 20 to 100 Hz
    "quaternion": 5e-3,
    "N": 0.5,  # drift of a force-torque sensor
    "N m": 5e-2,
}
FLOORS |= dict.fromkeys(("deg", "degrees"), 0.5)
FLOORS |= dict.fromkeys(("deg/s", "degrees/s"), 3.0)
FLOORS |= dict.fromkeys(("Nm", "N·m", "N*m"), FLOORS["N m"])
RANGE_SHARE = 0.1  # of half a field's declared range: a unit's floor may be no more
FLOOR_SHARE = 0.01  # of half the range, or of the field's largest deviation: where no unit says
CONSTANT = 1e-6  # a deviation below is none: the number is left in its own unit
OBSERVATION_MARGIN = 0.5  # of what the data span, on both sides
REWARD_MARGIN = 1.0  # likewise: exploration is to find better ones


@dataclass(frozen=True)
class Normalisation:
    """Constants of the change from physical to training units; rows are per component.

    `reward_mean` matters to encoder and decoder only: the critic sees reward / reward_std, since a
    shift would change what ending an episode is worth. Observations, and rewards where the encoder
    reads them, are clipped to `low` and `high`, in training units; actions to [−1, 1].
    """

    observation_mean: NDArray[np.float32]
    observation_std: NDArray[np.float32]
    action_centre: NDArray[np.float32]
    action_half_range: NDArray[np.float32]
    reward_mean: float
    reward_std: float
    observation_low: Constant = -np.inf
    observation_high: Constant = np.inf
    reward_low: float = -np.inf
    reward_high: float = np.inf

    @staticmethod
    def of(observations: Array, rewards: Array, low: Array, high: Array) -> Normalisation:
        """Zero mean and unit variance of the data, no floor and no range.

        Args:
            observations: `(transition, observation)`; rewards: `(transition,)`.
            low, high: bounds of the action, `(action,)`.
        """
        return Normalisation(
            observation_mean=observations.mean(axis=0).astype(np.float32),
            observation_std=_or_one(observations.std(axis=0)).astype(np.float32),
            action_centre=((high + low) / 2).astype(np.float32),
            action_half_range=((high - low) / 2).astype(np.float32),
            reward_mean=float(rewards.mean()),
            reward_std=float(rewards.std()) if is_spread(rewards) else 1.0,
        )

    def guarded(
        self, known: Sequence[Field], observations: Array, following: Array, rewards: Array
    ) -> Normalisation:
        """The same with floors under the deviations, and with the range that the data span.

        Args:
            known: the observation's fields.
            observations, following: `(transition, observation)`, before and after each action.
            rewards: `(transition,)`.
        """
        deviation = observations.std(axis=0)
        std = _or_one(np.maximum(deviation, floors(known, deviation))).astype(np.float32)
        low = np.minimum(observations.min(axis=0), following.min(axis=0))
        high = np.maximum(observations.max(axis=0), following.max(axis=0))
        margin = OBSERVATION_MARGIN * (high - low)
        least, most = float(rewards.min()), float(rewards.max())
        more = REWARD_MARGIN * (most - least)
        return replace(
            self,
            observation_std=std,
            observation_low=((low - margin - self.observation_mean) / std).astype(np.float32),
            observation_high=((high + margin - self.observation_mean) / std).astype(np.float32),
            reward_low=(least - more - self.reward_mean) / self.reward_std,
            reward_high=(most + more - self.reward_mean) / self.reward_std,
        )

    def without(self, unseen: Truths) -> Normalisation:
        """The same, but each component that is true in `unseen` `(observation,)` is 0 in training
        units, its mean, whatever it is; NaN stays NaN."""
        low = np.where(unseen, 0.0, self.observation_low).astype(np.float32)
        high = np.where(unseen, 0.0, self.observation_high).astype(np.float32)
        return replace(self, observation_low=low, observation_high=high)

    def reaching(self, other: Normalisation) -> Normalisation:
        """The same units, with a range that holds `other`'s too: of weights that go on to learn
        from other data."""

        def here(bound: Constant) -> Constant:
            physical = bound * other.observation_std + other.observation_mean
            return (physical - self.observation_mean) / self.observation_std

        def reward_here(bound: float) -> float:
            return (bound * other.reward_std + other.reward_mean - self.reward_mean) / (
                self.reward_std
            )

        low = np.minimum(self.observation_low, here(other.observation_low))
        high = np.maximum(self.observation_high, here(other.observation_high))
        return replace(
            self,
            observation_low=low.astype(np.float32),
            observation_high=high.astype(np.float32),
            reward_low=min(self.reward_low, reward_here(other.reward_low)),
            reward_high=max(self.reward_high, reward_here(other.reward_high)),
        )

    def observation(self, physical: Array) -> NDArray[np.float32]:
        """`(..., observation)` in training units, within the range; NaN stays NaN."""
        with np.errstate(over="ignore"):  # an absurd number ends at the range, as infinity does
            scaled = (physical - self.observation_mean) / self.observation_std
        return np.clip(scaled, self.observation_low, self.observation_high).astype(np.float32)

    def action(self, physical: Array) -> NDArray[np.float32]:
        """`(..., action)` in [−1, 1]; NaN stays NaN."""
        with np.errstate(over="ignore"):
            scaled = (physical - self.action_centre) / self.action_half_range
        return np.clip(scaled, -1.0, 1.0).astype(np.float32)

    def reward(self, physical: Array) -> NDArray[np.float32]:
        """Standardised, not clipped: what a critic or a decoder learns must stay the truth."""
        return ((physical - self.reward_mean) / self.reward_std).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every constant by name, for a checkpoint."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Normalisation:
        """What `arrays` gave. Raises `KeyError` for one that is missing."""
        values: dict[str, Any] = {}
        for field in fields(Normalisation):
            array = arrays[field.name]
            values[field.name] = array.item() if array.ndim == 0 else array
        return Normalisation(**values)

    def same(self, other: Normalisation) -> bool:
        """Whether every constant is equal."""
        ours, theirs = self.arrays(), other.arrays()
        return all(np.array_equal(ours[name], theirs[name]) for name in ours)


class Normalised(Protocol):
    """What was trained in the units of its `normalisation`."""

    @property
    def normalisation(self) -> Normalisation: ...


def floors(known: Sequence[Field], deviation: Array) -> Array:
    """The least deviation of each component, `(component,)`, from `deviation` `(component,)`.

    By the field's unit, but no more than a share of its declared range; of another unit, a share of
    that range, or of the largest deviation among the field's components.
    """
    found, first = [], 0
    for field in known:
        largest = deviation[first : first + field.width].max(initial=0.0)
        first += field.width
        half = (np.array(field.high) - np.array(field.low)) / 2
        if field.unit in FLOORS:
            found.append(np.minimum(FLOORS[field.unit], RANGE_SHARE * half))
        else:
            found.append(FLOOR_SHARE * np.where(np.isfinite(half), half, largest))
    return np.concatenate(found)


@dataclass(frozen=True)
class AlmostConstant:
    """A component that varies less in the data than a network may take notice of."""

    name: str
    unit: str
    deviation: float
    floor: float

    def __str__(self) -> str:
        return f"{self.name} (deviation {self.deviation:.2g} {self.unit}, floor {self.floor:.2g})"


def almost_constant(
    known: Sequence[Field], observations: Array, constants: Normalisation
) -> list[AlmostConstant]:
    """The components of `observations` that stand on a floor.

    Args:
        known: the observation's fields, in order.
        observations: `(transition, observation)`, in physical units.
        constants: those whose `observation_std` may be a floor.
    """
    names = [
        (field.name if field.width == 1 else f"{field.name}[{index}]", field.unit)
        for field in known
        for index in range(field.width)
    ]
    deviations = observations.std(axis=0).tolist()
    used = constants.observation_std.tolist()
    return [
        AlmostConstant(name, unit, deviation, floor)
        for (name, unit), deviation, floor in zip(names, deviations, used, strict=True)
        if floor > deviation * (1 + 1e-5)  # float32 beside float64
    ]


def _or_one(deviation: Array) -> Array:
    return np.where(deviation < CONSTANT, 1.0, deviation)
