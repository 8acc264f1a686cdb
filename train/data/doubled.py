"""Episodes that are in the data more than once, where that is a mistake and not shared on purpose.

Tasks of one split may share what was seen and done, each with rewards of its own. Pure functions;
what an episode is told by is taken before it is thinned out, since two copies may be thinned out
differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode

Origin = tuple[str, str]
Placed = tuple[str, str, Any, LabelledEpisode]


def origin(episode: LabelledEpisode) -> Origin:
    """What a whole episode is told by: digests of what was seen and done, and of what was paid.

    The same for a copy in float32.
    """
    return _digest(episode.observations, episode.actions), _digest(episode.rewards)


def _digest(*columns: Array) -> str:
    hashed = hashlib.sha256()
    for rows in columns:
        hashed.update(str(rows.shape).encode())
        hashed.update((rows.astype(np.float32) + np.float32(0.0)).tobytes())  # -0 is 0
    return hashed.hexdigest()


def twice(family: TaskFamily, placed: Iterable[Placed], known: Iterable[Placed] = ()) -> str:
    """Which episode is there a second time, first; empty where none is.

    Args:
        placed: of each episode the place as a person calls it, its split, its task, and itself.
        known: those that were there before, whose copies of each other are no mistake of `placed`.
    """
    of_task: dict[Any, str] = {}
    of_split: dict[Any, str] = {}
    paid_alike: dict[Any, str] = {}
    first, copies, total = ("", "", "", ""), 0, 0
    marked = chain(((one, True) for one in known), ((one, False) for one in placed))
    for (place, split, task, episode), was_there in marked:
        done, paid = origin(episode) if episode.origin is None else episode.origin
        other = "test" if split == "train" else "train"
        before = of_task.get((done, split, task))
        same, why = "observations and actions", ""
        if before is None and (before := of_split.get((done, other))):
            why = "what is held out must not be trained on; "
        if before is None and family.dynamics_vary and (before := of_split.get((done, split))):
            why = f"tasks of {family.name} differ in their dynamics, so that it is of one only; "
        # Sparse rewards are often alike: of failures, and of successes at tasks close by.
        if before is None and not family.sparse_reward:
            before = paid_alike.get((done, split, paid))
            same, why = "observations, actions and rewards", "rewards are a task's own; "
        if before is not None and not was_there:
            copies += 1
            first = first if copies > 1 else (place, same, before, why)
        total += not was_there
        of_task.setdefault((done, split, task), place)
        of_split.setdefault((done, split), place)
        paid_alike.setdefault((done, split, paid), place)
    if not copies:
        return ""
    place, same, before, why = first
    return (
        f"{place} has the same {same} as {before} ({copies} of {total} episodes are such copies): "
        f"{why}leave one of the two out"
    )
