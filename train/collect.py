"""`fieldtune collect`: a family's labelled multi-task data, made and written.

Each family's data has one maker here; a maker yields labelled episodes of the tasks it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.family import Array, TaskFamily
from sim.registry import family as make_family
from sim.rollout import LabelledEpisode
from train.config import RunConfig
from train.datasets import DatasetError, write_dataset

OnEpisodes = Callable[[int, int], None]
Maker = Callable[[TaskFamily, int, Array, int, OnEpisodes], Iterator[LabelledEpisode]]

TEST_SEED_OFFSET = 1_000_003  # held-out tasks' data must not repeat the training tasks' draws


@dataclass(frozen=True)
class Collected:
    """What was written, for a person to read."""

    id: str
    episodes: int
    transitions: int
    mean_return: float


def collect(config: RunConfig, on_episodes: OnEpisodes = lambda done, total: None) -> Collected:
    """Make the data of `config.family` and write it to `config.data.path`.

    Args:
        on_episodes: told the episodes done and the episodes in all.

    Raises:
        DatasetError: there is a dataset already, or nobody knows how to make this family's.
    """
    family = make_family(config.family)
    folder = Path(config.data.path)
    if folder.exists():
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or set data.path"
        )
    maker, how = _maker(family.name)
    split, per_task = family.split(), config.data.episodes_per_task
    total = per_task * (len(split.train) + len(split.test))

    def make(seed: int, tasks: Array, before: int) -> list[LabelledEpisode]:
        return list(
            maker(family, seed, tasks, per_task, lambda done, _: on_episodes(before + done, total))
        )

    train = make(config.seed, split.train, 0)
    test = make(config.seed + TEST_SEED_OFFSET, split.test, len(train))
    how = how | {"seed": config.seed, "episodes_per_task": per_task}
    name = write_dataset(folder, family, train=train, test=test, how=how)
    everything = train + test
    return Collected(
        id=name,
        episodes=len(everything),
        transitions=sum(len(episode.actions) for episode in everything),
        mean_return=float(np.mean([episode.rewards.sum() for episode in everything])),
    )


def _maker(name: str) -> tuple[Maker, dict[str, Any]]:
    if name == "reach":
        return _scripted_reach, {"policy": "scripted, a quarter of it towards the own target"}
    if name == "cheetah-vel":
        from train.conditioned_sac import collect_replay

        return collect_replay, {"policy": "replay of SAC given the task, relabelled across tasks"}
    raise DatasetError(f"no data maker for family {name!r}; bring a dataset and set data.path")


def _scripted_reach(
    family: TaskFamily, seed: int, tasks: Array, episodes: int, on_episodes: OnEpisodes
) -> Iterator[LabelledEpisode]:
    from sim.reach.family import ReachFamily
    from sim.reach.scripted import collect_scripted

    assert isinstance(family, ReachFamily)
    yield from collect_scripted(family, seed, tasks, episodes, progress=on_episodes)
