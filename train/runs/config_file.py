"""A run's file read and checked, the `algorithm` section against the chosen algorithm's own model.

Knows which algorithms there are from their registry; not what any key means.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, create_model

from fieldtune import settings
from fieldtune.plugins import PluginError
from fieldtune.settings import ConfigError
from fieldtune.train.algorithms.registry import DEFAULT, algorithm_class, settings_of
from fieldtune.train.config import AlgorithmSettings, RunConfig


class _Chosen(BaseModel):
    name: str = DEFAULT


class ChosenAlgorithm(BaseModel):
    """The one key of a run's settings that decides how the others are checked."""

    algorithm: _Chosen = _Chosen()

    def config_model(self, source: Path, above: str = "") -> type[RunConfig]:
        """What the whole settings must look like.

        Args:
            source: the file, for the message.
            above: the keys above those of a run in it, each with its dot.

        Raises:
            ConfigError: there is no such algorithm, or it cannot be loaded.
        """
        name = self.algorithm.name
        try:
            return _with_section(algorithm_class(name).Settings)
        except PluginError as error:
            raise ConfigError(f"{source}: '{above}algorithm.name' is {name!r}: {error}") from error


def load_config(path: Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a run's file.

    Args:
        path: a YAML file.
        overrides: `a.b=value`, which replace the file's.

    Raises:
        ConfigError: as `fieldtune.settings.load`, or there is no such algorithm, or `methods` has a
            key that is none.
    """
    chosen = settings.load(ChosenAlgorithm, path, overrides=overrides)
    config = settings.load(chosen.config_model(path), path, overrides=overrides)
    for name in config.methods:
        if name == config.algorithm.name:
            raise ConfigError(
                f"{path}: 'methods.{name}' is the run's own algorithm: set its keys in 'algorithm'"
            )
        try:
            method_settings(name, config)
        except PluginError as error:
            raise ConfigError(f"{path}: 'methods.{name}': {error}") from error
    return config


def method_settings(name: str, config: RunConfig) -> AlgorithmSettings:
    """The section of algorithm `name` as a run trains it, configured or not.

    Raises:
        ConfigError: `methods.NAME` has a key or value that is none, or the run's `algorithm` has
            one that this algorithm cannot share.
        PluginError: there is no such algorithm, or it cannot be loaded.
    """
    return settings_of(name, config.algorithm, config.methods.get(name))


@cache
def _with_section(section: type[AlgorithmSettings]) -> type[RunConfig]:
    return create_model("RunConfig", __base__=RunConfig, algorithm=(section, section()))  # type: ignore[call-arg]
