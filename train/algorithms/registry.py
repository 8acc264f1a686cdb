"""Algorithms by name: ours, and those that other packages bring (`fieldtune.plugins`).

A plug-in is a class with `Settings`, its section of a run's file, and `fresh`, which makes one that
has learned nothing. What else it must have is `fieldtune.train.algorithms.algorithm.Algorithm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from fieldtune import plugins, settings
from fieldtune.plugins import PluginError
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.config import AlgorithmSettings

GROUP: plugins.Group = "fieldtune.algorithms"
DEFAULT = "smac"  # of a file that names no algorithm


class AlgorithmClass(Protocol):
    """What a line of `fieldtune.plugins.BUILT_IN`, or an entry point `fieldtune.algorithms`, names.

    Attributes:
        Settings: its section of a run's file, each key with a default, `name` as there.
    """

    Settings: type[AlgorithmSettings]

    def fresh(
        self,
        shape: Shape,
        normalisation: Normalisation,
        settings: AlgorithmSettings,
        learning_rate: float,
    ) -> Algorithm:
        """One that has learned nothing, a class method.

        Args:
            shape: sizes of observation and action.
            normalisation: the data's constants.
            settings: a `Settings`.
            learning_rate: of the phase. Weights must depend on torch's global random state alone.
        """
        ...


def algorithm_class(name: str) -> AlgorithmClass:
    """The class of algorithm `name`.

    Raises:
        NoSuchPlugin: nobody offers it.
        PluginError: it cannot be loaded, or lacks `Settings` or `fresh`.
    """
    found = plugins.find(GROUP, name)
    kind = found.load()
    section = getattr(kind, "Settings", None)
    if not (isinstance(section, type) and issubclass(section, AlgorithmSettings)):
        raise PluginError(
            f"{name!r} ({GROUP}: {found.place}) has no `Settings`, a subclass of "
            "fieldtune.train.config.AlgorithmSettings"
        )
    if not callable(getattr(kind, "fresh", None)):
        raise PluginError(f"{name!r} ({GROUP}: {found.place}) has no class method `fresh`")
    return cast(AlgorithmClass, kind)


def adapts_by(name: str) -> str | None:
    """What an algorithm without an encoder adapts by, in words: its attribute `adapts_by`.

    None of one that has an encoder, and of a name that no algorithm (any more) has.
    """
    try:
        return getattr(algorithm_class(name), "adapts_by", None)
    except PluginError:
        return None


def settings_of(
    name: str, known: AlgorithmSettings, own: Mapping[str, Any] | None = None
) -> AlgorithmSettings:
    """The section of algorithm `name` with the values of `known` for every key that both have.

    So baselines are trained as the run is configured, whichever algorithm that is for.

    Args:
        name: of the algorithm.
        known: any algorithm's section.
        own: keys of `name` that are set otherwise, as JSON has them; of `networks` some.

    Raises:
        ConfigError: a key of `own` is unknown, or a value is none that `name` takes.
    """
    section = algorithm_class(name).Settings
    if isinstance(known, section) and not own:
        return known
    shared = section.model_fields.keys() & type(known).model_fields.keys() - {"name"}
    values = known.model_dump(mode="json", include=shared)
    for key, value in (own or {}).items():
        inside = values.get(key)
        if isinstance(value, dict) and isinstance(inside, dict):
            value = inside | value
        values[key] = value
    return settings.check(section, values, source="a run's file", key=f"methods.{name}")


def fresh(
    name: str,
    shape: Shape,
    normalisation: Normalisation,
    settings: AlgorithmSettings,
    learning_rate: float,
) -> Algorithm:
    """Algorithm `name`, having learned nothing; depends on torch's global random state.

    Args:
        name: of the algorithm.
        shape: sizes of observation and action.
        normalisation: the data's constants.
        settings: any algorithm's section (`settings_of`).
        learning_rate: of the phase.
    """
    own = settings_of(name, settings)
    return algorithm_class(name).fresh(shape, normalisation, own, learning_rate)
