"""Opening a run: its configuration, family, data and folder are held against each other.

What is refused is refused before anything is created. Builds nothing that learns.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fieldtune import settings
from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.sim.family import TaskFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.train.algorithms.smac import SmacSettings
from fieldtune.train.config import ONLY_WHERE, RunConfig
from fieldtune.train.data.dataset import Dataset, read_dataset
from fieldtune.train.data.randomise import CannotRandomise, randomised
from fieldtune.train.data.relabelled import with_relabelled
from fieldtune.train.device import resolve
from fieldtune.train.runs.config_file import load_config, method_settings
from fieldtune.train.runs.run import Run, RunError
from fieldtune.train.runs.trackers.tracker import require_trackers

DATA = "data.sha256"


def open_run(config: RunConfig, folder: Path, *, option: str = "--run") -> Run:
    """Check that family and dataset fit, then create the folder with the resolved configuration.

    A folder that is there already must be of the same configuration and data, but for
    `device`, `workers` and `tracker`. The data may lie elsewhere by now, and where the folder is
    moved with the data in it, they go with it.

    Args:
        option: the caller's, which names `folder`, for messages.

    Raises:
        DatasetError, ConfigError, DeviceError, TrackerError: nothing was created.
        RunError: the folder holds a run of another configuration, or of other data.
    """
    resolve(config.device)
    family = make_family(config.family, **config.family_options)
    if family.dynamics_vary and config.self_supervised.labels > 1:
        raise RunError(
            f"self_supervised.labels is {config.self_supervised.labels}, but tasks of "
            f"{family.name!r} differ in their dynamics: a trajectory has only its own label; set 1"
        )
    try:
        randomised(family, config.randomisation)
    except CannotRandomise as error:
        raise RunError(str(error)) from error
    clamped = isinstance(config.algorithm, SmacSettings) and config.algorithm.clamp_q
    if clamped and not np.isfinite(family.reward_bounds).any():
        raise RunError(
            f"algorithm.clamp_q is true, but {family.name!r} declares no bounds of its rewards "
            "(`reward_bounds`): set false"
        )
    dataset = learned_from(config, family)
    ahead = {"algorithm": config.algorithm.n_step}
    ahead |= {f"methods.{name}": method_settings(name, config).n_step for name in config.methods}
    for key, steps in ahead.items():
        if steps == 1 or not dataset.thinned:
            continue
        raise RunError(
            f"{key}.n_step is {steps}, but {config.data.path} has episodes "
            "with steps left out: nothing is known of what came next; set 1"
        )
    known = folder / "config.yaml"
    if known.exists():
        before = load_config(known)
        there = before
        if (folder / DATA).exists():  # else a run from before this was kept: its path must do
            data = before.data.model_copy(update={"path": config.data.path})
            there = before.model_copy(update={"data": data})
        changed = first_difference(there.model_dump(), config.model_dump())
        if changed is not None:
            longer = changed.startswith("offline.updates ")
            raise RunError(
                f"{folder} holds a run with another {changed}; "
                + ("go on to more with `fieldtune train --updates N`, or " if longer else "")
                + f"give the new run a folder of its own with {option}"
            )
        _require_same_data(folder, dataset, config.data.path, option)
        moved = os.path.realpath(before.data.path) != os.path.realpath(config.data.path)
        where = {key: getattr(config, key) for key in ONLY_WHERE}
        if moved or any(getattr(before, key) != value for key, value in where.items()):
            there = there.model_copy(update=where)
            settings.dump(there, known, movable="data.path")
    else:
        require_trackers(config.trackers)
        require_writable(known)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / DATA, f"{dataset.digest}\n".encode())
        settings.dump(config, known, movable="data.path")
    return Run(config, folder, family, dataset)


def learned_from(config: RunConfig, family: TaskFamily) -> Dataset:
    """The data at `data.path`, with what `data.relabelled` adds. Raises `DatasetError`."""
    return with_relabelled(
        read_dataset(Path(config.data.path), family), family, config.data.relabelled
    )


def open_existing(folder: Path) -> Run:
    """The run that `folder` holds, by the configuration that is kept in it.

    Raises:
        RunError: there is none, or its data are not where it says.
        DatasetError, ConfigError: as `open_run`.
    """
    return open_run(settings_of(folder), folder)


def settings_of(folder: Path) -> RunConfig:
    """The configuration that a run keeps. Raises as `open_existing`."""
    known = folder / "config.yaml"
    if not known.exists():
        raise RunError(
            f"{folder}: no run here; start one with `fieldtune train --config FILE --run {folder}`"
        )
    config = load_config(known)
    if not Path(config.data.path).exists():
        raise RunError(
            f"{config.data.path}: no dataset there, where {known} has this run's: put it back, or "
            "set data.path in that file to where it is now"
        )
    return config


def _require_same_data(folder: Path, dataset: Dataset, path: str, option: str) -> None:
    """Held-out tasks, normalisation and what a bundle says of its data are all the first data's."""
    known, digest = folder / DATA, dataset.digest
    if not known.exists():  # a run from before this was kept
        write_atomically(known, f"{digest}\n".encode())
    elif known.read_text(encoding="ascii").strip() != digest:
        raise RunError(
            f"{folder} was made from other data than {path} holds now ({known} has their digest): "
            f"put them back, or give the new run a folder of its own with {option} (and with "
            f"`fieldtune train --from {folder}` its weights)"
        )


def first_difference(before: dict, after: dict, above: str = "") -> str | None:
    """The first key whose value changed, with both values; None where none did.

    The robot's section, the device and the workers may change freely. Keys that only one of the two
    has came or went with a version, and do not count.

    Args:
        before, after: settings as nested mappings.
        above: the keys that led to them, each with a dot behind it; empty for a whole file.
    """
    for key in before:
        if key not in after or (not above and key in ("robot", *ONLY_WHERE)):
            continue
        where = f"{above}{key}"
        old, new = before[key], after[key]
        by_name = not above and key == "methods"  # whose keys are no version's, but a person's
        if isinstance(old, dict) and isinstance(new, dict) and not by_name:
            inner = first_difference(old, new, f"{where}.")
            if inner is not None:
                return inner
        elif old != new:
            return f"{where} ({old!r}, now {new!r})"
    return None
