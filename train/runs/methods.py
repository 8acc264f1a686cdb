"""A run as one of its other algorithms trains it: on the same data, in a checkpoint of its own.

Knows runs and the names of algorithms; trains nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fieldtune.train.runs.config_file import method_settings
from fieldtune.train.runs.run import Run


def checkpoint_of(run: Run, name: str) -> Path:
    """Where training of algorithm `name` on the dataset is kept."""
    if name == run.config.algorithm.name:
        return run.offline_checkpoint
    return run.offline_checkpoint.with_name(f"{name}.safetensors")


def as_method(run: Run, name: str) -> Run:
    """`run` with algorithm `name` in the place of the configured one, which shares its settings but
    for what `methods` sets.

    Raises:
        ConfigError: they cannot be shared.
        PluginError: there is no such algorithm, or it cannot be loaded.
    """
    if name == run.config.algorithm.name:
        return run
    section = method_settings(name, run.config)
    return replace(run, config=run.config.model_copy(update={"algorithm": section}))
