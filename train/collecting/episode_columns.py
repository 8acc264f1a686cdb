"""Whole episodes as a few long arrays, and back: how unfinished datasets hold them on disk.

Knows episodes and arrays; not files, and no torch, which processes that only simulate do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.rollout import LabelledEpisode


def columns(prefix: str, episodes: Sequence[LabelledEpisode]) -> dict[str, NDArray[Any]]:
    """The arrays of whole episodes end to end, each under `prefix` + name; none of no episodes."""
    if not episodes:
        return {}
    known = {
        "task_index": np.array([episode.task_index for episode in episodes]),
        "steps": np.array([episode.steps for episode in episodes]),
        "terminated": np.array([episode.terminated for episode in episodes]),
        "observations": np.concatenate([episode.observations for episode in episodes]),
        "actions": np.concatenate([episode.actions for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
    }
    measured = [episode.signals for episode in episodes if episode.signals is not None]
    if measured:
        known["signals"] = np.concatenate(measured)
    # safetensors writes an array's memory as it lies, and reads it back row by row.
    return {f"{prefix}{name}": np.ascontiguousarray(column) for name, column in known.items()}


def episodes(prefix: str, found: Mapping[str, NDArray[Any]]) -> list[LabelledEpisode]:
    """The episodes that `columns` made these arrays of."""
    if f"{prefix}steps" not in found:
        return []
    steps = found[f"{prefix}steps"]
    ends = np.cumsum(steps)[:-1]

    def cut(name: str, where: NDArray[Any]) -> list[NDArray[Any]]:
        return np.split(found[f"{prefix}{name}"], where)

    signals: list[Any] = [None] * len(steps)
    if f"{prefix}signals" in found:
        signals = cut("signals", ends)
    return [
        LabelledEpisode(
            task_index=int(index),
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=bool(terminated),
            signals=measured,
        )
        for index, observations, actions, rewards, terminated, measured in zip(
            found[f"{prefix}task_index"],
            cut("observations", np.cumsum(steps + 1)[:-1]),
            cut("actions", ends),
            cut("rewards", ends),
            found[f"{prefix}terminated"],
            signals,
            strict=True,
        )
    ]
