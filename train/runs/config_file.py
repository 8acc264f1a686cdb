"""A run's file read and checked, the `algorithm` section against the chosen algorithm's own model.

Knows which algorithms there are from their registry; not what any key means.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pydantic import BaseModel, create_model

from fieldtune import settings
from fieldtune.settings import ConfigError
from fieldtune.train.algorithms.registry import ALGORITHMS, DEFAULT
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
            ConfigError: there is no such algorithm.
        """
        name = self.algorithm.name
        if name not in ALGORITHMS:
            near = get_close_matches(name, ALGORITHMS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ALGORITHMS)}"
            raise ConfigError(
                f"{source}: '{above}algorithm.name' is {name!r}: no such algorithm; {hint}"
            )
        section: type[AlgorithmSettings] = ALGORITHMS[name].settings
        return _with_section(section)


def load_config(path: Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a run's file.

    Args:
        path: a YAML file.
        overrides: `a.b=value`, which replace the file's.

    Raises:
        ConfigError: as `fieldtune.settings.load`, or there is no such algorithm.
    """
    chosen = settings.load(ChosenAlgorithm, path, overrides=overrides)
    return settings.load(chosen.config_model(path), path, overrides=overrides)


@cache
def _with_section(section: type[AlgorithmSettings]) -> type[RunConfig]:
    return create_model("RunConfig", __base__=RunConfig, algorithm=(section, section()))  # type: ignore[call-arg]
