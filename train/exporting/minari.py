"""A Minari dataset whose observations are a dict by field, for those who know no order of ours.

Written through Minari's own storage; the task is in each episode's attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from minari.dataset.minari_storage import MinariStorage

from fieldtune.sim.family import bounds
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import SIGNALS, DatasetError
from fieldtune.train.data.episode_process import (
    ATTRIBUTE,
    INFO,
    OBSERVATION,
    WritingFailed,
    write_episodes,
)
from fieldtune.train.exporting.mapping_out import form, takes
from fieldtune.train.exporting.opened import Labelled, Opened

TASK = "task"


def write_minari(folder: Path, data: Opened) -> dict[str, Any]:
    """Write `data` into the empty, absolute `folder`; return the mapping that reads it again.

    Raises:
        DatasetError: the episodes could not be written.
        OSError: with a path.
    """
    family = data.family
    (folder / "data").mkdir()
    seen: dict[str, gymnasium.Space[Any]] = {
        field.name: gymnasium.spaces.Box(*bounds((field,)), dtype=np.float64)
        for field in family.observation_fields
    }
    storage = MinariStorage.new(
        folder / "data",
        observation_space=gymnasium.spaces.Dict(seen),
        action_space=gymnasium.spaces.Box(*bounds(family.action_fields), dtype=np.float64),
    )
    storage.update_metadata(
        {
            "dataset_id": f"exported/{family.name}-v0",
            "minari_version": minari.__version__,
            "description": f"Labelled episodes of {len(data.texts)} tasks of {family.name} "
            f"({family.robot}), {family.period_s:g} s a step.",
        }
    )
    try:
        write_episodes(folder / "data", (_row(one, data) for one in data.episodes))
    except WritingFailed as error:
        raise DatasetError(f"{folder} is not written: {error}") from error
    found: dict[str, Any] = {
        "format": "minari",
        "observation": {
            field.name: {"from": f"observations/{field.name}", **form(field)}
            for field in family.observation_fields
        },
        "action": takes("actions", family.action_fields),
        "reward": "rewards",
        "terminated": "terminations",
        "tasks": {"name": TASK},
    }
    if data.measured:
        found["signals"] = takes(f"infos/{SIGNALS}", family.signal_fields)
    return found


def _row(one: Labelled, data: Opened) -> dict[str, Any]:
    episode: LabelledEpisode = one.episode
    last = np.arange(episode.steps) == episode.steps - 1
    row: dict[str, Any] = {
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": last & episode.terminated,
        "truncations": last & (not episode.terminated),
        f"{ATTRIBUTE}{TASK}": np.asarray(one.text),
        f"{ATTRIBUTE}split": np.asarray(one.split),
    }
    start = 0
    for field in data.family.observation_fields:
        columns = slice(start, start + field.width)
        row[f"{OBSERVATION}{field.name}"] = episode.observations[:, columns]
        start += field.width
    if data.measured and episode.signals is not None:
        before = np.full_like(episode.signals[:1], np.nan)  # nothing was measured yet
        row[f"{INFO}{SIGNALS}"] = np.concatenate([before, episode.signals])
    return row
