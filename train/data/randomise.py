"""A family that varies from episode to episode, as `randomisation` in a run's configuration says.

For the simulated side of training: collecting, and exploring in process. Evaluation and the robot
keep the family as it is.
"""

from __future__ import annotations

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.manipulation.variation import CanVary, Variation
from fieldtune.train.config import Randomisation


class CannotRandomise(ValueError):
    """The family cannot vary so. The message names the key, what is wrong with it and the cure."""


def randomised(family: TaskFamily, settings: Randomisation) -> TaskFamily:
    """`family`, varying as `settings` say; the same one where they say nothing.

    Raises:
        CannotRandomise: no randomisation is known for it, or a value makes no sense there.
    """
    if settings == Randomisation():
        return family
    if not isinstance(family, CanVary):
        raise CannotRandomise(
            f"randomisation is set, but {family.name!r} has no `with_variation` and cannot vary "
            "(docs/families.md): remove it"
        )
    try:
        variation = Variation(
            mass=settings.mass,
            friction=settings.friction,
            actuator_gain=settings.actuator_gain,
            observation_noise=tuple(settings.observation_noise.items()),
            latency=settings.latency,
        )
        return family.with_variation(variation)
    except ValueError as error:
        raise CannotRandomise(f"randomisation.{error}") from error
