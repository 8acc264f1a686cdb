"""Algorithms by name: a line each. The only module that knows all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.algorithms.meta_bc import MetaBcSettings, MetaBehaviourCloning
from fieldtune.train.algorithms.pearl import Pearl, PearlSettings
from fieldtune.train.algorithms.smac import Smac, SmacSettings
from fieldtune.train.config import AlgorithmSettings

Settings = TypeVar("Settings", bound=AlgorithmSettings)

DEFAULT = "smac"  # of a file that names no algorithm


@dataclass(frozen=True)
class Entry(Generic[Settings]):
    """One algorithm.

    Attributes:
        settings: its section of a run's file, each key with a default, `name` as in `ALGORITHMS`.
        fresh: makes one that has learned nothing, from the sizes of observation and action, the
            data's constants, its settings and the learning rate; its weights must depend on
            torch's global random state alone.
    """

    settings: type[Settings]
    fresh: Callable[[Shape, Normalisation, Settings, float], Algorithm]


ALGORITHMS: dict[str, Entry[Any]] = {
    "smac": Entry(SmacSettings, Smac.fresh),
    "meta-bc": Entry(MetaBcSettings, MetaBehaviourCloning.fresh),
    "pearl": Entry(PearlSettings, Pearl.fresh),
}


def settings_of(name: str, known: AlgorithmSettings) -> AlgorithmSettings:
    """The section of algorithm `name` with the values of `known` for every key that both have.

    So baselines are trained as the run is configured, whichever algorithm that is for.
    """
    section: type[AlgorithmSettings] = ALGORITHMS[name].settings
    if isinstance(known, section):
        return known
    shared = section.model_fields.keys() & type(known).model_fields.keys() - {"name"}
    return section(**{key: getattr(known, key) for key in shared})


def fresh(
    name: str,
    shape: Shape,
    normalisation: Normalisation,
    settings: AlgorithmSettings,
    learning_rate: float,
) -> Algorithm:
    """Algorithm `name`, having learned nothing; depends on torch's global random state.

    Args:
        name: one of `ALGORITHMS`.
        shape: sizes of observation and action.
        normalisation: the data's constants.
        settings: any algorithm's section (`settings_of`).
        learning_rate: of the phase.
    """
    own = settings_of(name, settings)
    return ALGORITHMS[name].fresh(shape, normalisation, own, learning_rate)
