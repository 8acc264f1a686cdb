"""Scripted data: what a family's script offers, and how it is found.

Holds the contract and the look-up. Must not know any family or script: a family names its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode


class BadScript(UserError):
    """A family's script cannot be used. The message names the family, the text and the cure."""


class Scripted(Protocol):
    """A module or an object that makes a family's scripted data.

    `POLICY` says how, in one line. What also has `film`, as `fieldtune.sim.noisy_script` does, has
    pictures in a dataset's folder; what has `scripted_episodes`, the episodes that
    `scripted_return` is the mean of, by the same arguments, has its success in reports.
    """

    POLICY: str

    def collect_scripted(
        self,
        family: Any,
        seed: int,
        tasks: Array,
        jobs: Sequence[tuple[int, int]],
        threads: int = 1,
    ) -> list[LabelledEpisode]:
        """Labelled episodes, in the order of `jobs`.

        Args:
            family: simulates and labels.
            seed: of the whole collection; with it and its job alone an episode is decided.
            tasks: the collection's, `(task, parameter)`.
            jobs: of each episode, the index of its task and its own within the task.
            threads: simulator threads.
        """
        ...

    def scripted_return(
        self, family: Any, tasks: Array, seeds: NDArray[np.int64], threads: int = 1
    ) -> float:
        """Mean return of the script that is told the task, every task from every seed: a mark to
        measure by. `tasks` `(task, parameter)`, `seeds` `(seed,)`."""
        ...


def scripted(family: TaskFamily) -> Scripted | None:
    """What makes the scripted data of `family`; None where its data come from an agent.

    A family names it in `scripted`: `module` or `module:attribute`.

    Raises:
        BadScript: what it names cannot be imported, or lacks a part of the contract.
    """
    place: str | None = getattr(family, "scripted", None)
    if place is None:
        return None
    module, _, attribute = place.partition(":")
    try:
        found: Any = import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise BadScript(
            f"family {family.name!r}: scripted is {place!r}, which cannot be imported ({error}): "
            "name a module, or module:attribute"
        ) from error
    for needed in ("POLICY", "collect_scripted", "scripted_return"):
        if not hasattr(found, needed):
            raise BadScript(
                f"family {family.name!r}: scripted is {place!r}, which has no {needed!r} "
                "(fieldtune.sim.scripted.Scripted says what a script offers)"
            )
    return cast(Scripted, found)
