"""Domain randomisation of arm and scene, for sim-to-real: what varies, and by how much.

Plain numbers and draws. It must not know mujoco, a family, nor how a simulator makes them true.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskFamily

_DRAWS = 2  # second word of an episode's seed: its start has 1


@dataclass(frozen=True)
class Variation:
    """What is drawn anew for every episode, uniformly between two bounds; this one varies nothing.

    Attributes:
        mass: factor of the mass and inertia of each thing that can be moved.
        friction: factor of sliding friction, of everything.
        actuator_gain: factor of the torques that the arm's motors give; the controller knows
            nothing of it.
        observation_noise: standard deviations by unit, e.g. `(("m", 0.002),)`, white, in every
            component that is measured in the unit.
        latency: control periods from an action to its effect, whole ones; before the first action
            arrives the arm stands still.
    """

    mass: tuple[float, float] = (1.0, 1.0)
    friction: tuple[float, float] = (1.0, 1.0)
    actuator_gain: tuple[float, float] = (1.0, 1.0)
    observation_noise: tuple[tuple[str, float], ...] = ()
    latency: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.name == "observation_noise":
                continue
            low, high = getattr(self, one.name)
            least = 0 if one.name == "latency" else np.nextafter(0.0, 1.0)
            if not least <= low <= high < np.inf:
                raise ValueError(
                    f"{one.name} is [{low}, {high}]: expected [smallest, largest], finite, "
                    + ("none below 0" if one.name == "latency" else "all above 0")
                )
        for unit, deviation in self.observation_noise:
            if not 0 <= deviation < np.inf:
                raise ValueError(
                    f"observation_noise of {unit!r} is {deviation}: expected 0 or more"
                )

    def noise(self, observed: tuple[Field, ...]) -> Array:
        """Standard deviation of each component, `(observation,)`.

        Raises:
            ValueError: a unit that no observation has.
        """
        by_unit = dict(self.observation_noise)
        units = sorted({field.unit for field in observed})
        for unit in by_unit:
            if unit not in units:
                raise ValueError(
                    f"observation_noise names the unit {unit!r}: expected of {', '.join(units)}"
                )
        return np.concatenate([np.full(f.width, by_unit.get(f.unit, 0.0)) for f in observed])


NOTHING = Variation()


@runtime_checkable
class CanVary(Protocol):
    """What a family has besides `TaskFamily` where its simulators can vary by episode."""

    def with_variation(self, variation: Variation) -> TaskFamily:
        """The same family, the copies of whose `simulator` vary so; its single robot does not.

        Raises:
            ValueError: it cannot vary so. The message starts with the field of `variation`.
        """
        ...


@dataclass(frozen=True)
class Drawn:
    """One episode's values; `noise` gives its observations' noise."""

    mass: float
    friction: float
    actuator_gain: float
    latency: int
    noise: np.random.Generator


def draw(variation: Variation, seed: int | np.int64) -> Drawn:
    """The episode of `seed`: it does not depend on the batch that it is in."""
    rng = np.random.default_rng([int(seed), _DRAWS])
    return Drawn(
        mass=rng.uniform(*variation.mass),
        friction=rng.uniform(*variation.friction),
        actuator_gain=rng.uniform(*variation.actuator_gain),
        latency=int(rng.integers(variation.latency[0], variation.latency[1] + 1)),
        noise=rng,
    )


class Delay:
    """Actions of a batch on their way, each arm's for its own number of control periods."""

    def __init__(self, periods: NDArray[np.int64], width: int) -> None:
        self._periods, self._steps = periods, 0
        self._sent = np.zeros((int(periods.max(initial=0)) + 1, len(periods), width))

    def through(self, actions: Array) -> Array:
        """Send `actions` `(env, action)`; what arrives now, zeros where nothing has yet."""
        kept = len(self._sent)
        self._sent[self._steps % kept] = actions
        arrived = self._sent[(self._steps - self._periods) % kept, np.arange(len(actions))]
        arrived[self._periods > self._steps] = 0.0
        self._steps += 1
        return arrived
