"""Minari datasets, spaces of dicts and tuples flattened by their keys: `observations/arm/joints`.

Nothing is downloaded. An episode's attributes are those that it was stored with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import minari
import numpy as np

from fieldtune.train.importing.formats.hdf5_tree import FAILURES
from fieldtune.train.importing.recording import RecordedEpisode, RecordingError, as_rows

SEEN, NOTED = "observations", "infos"  # these have a row before the first step, and one after each


class Minari:
    """A `Recording`: a folder, or the id of a dataset that this machine has."""

    def __init__(self, place: str) -> None:
        self._place = place

    @cached_property
    def _dataset(self) -> minari.MinariDataset:
        return minari_dataset(self._place)

    @cached_property
    def _first(self) -> dict[str, Any]:
        try:
            first = next(iter(self._dataset.iterate_episodes()))
        except StopIteration:
            raise RecordingError(f"{self._place}: the dataset has no episode") from None
        except FAILURES as error:
            raise self._unreadable(error) from error
        return dict(_leaves(first))

    @property
    def keys(self) -> dict[str, int]:
        return {
            key: 1 if leaf.ndim == 1 else leaf.shape[1]
            for key, leaf in self._first.items()
            if _is_rows(leaf)
        }

    @property
    def period_s(self) -> float | None:
        return None

    @property
    def unread(self) -> list[str]:
        others = [key for key, leaf in self._first.items() if not _is_rows(leaf)]
        return [f"{key!r}: not a row of numbers a step" for key in others]

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        try:
            storage = self._dataset.storage
            known = storage.get_episode_metadata(self._dataset.episode_indices)
            for found, attributes in zip(self._dataset.iterate_episodes(), known, strict=True):
                yield self._episode(found, attributes, keys)
        except FAILURES as error:
            raise self._unreadable(error) from error

    def _episode(
        self, found: Any, attributes: Mapping[str, Any], keys: frozenset[str]
    ) -> RecordedEpisode:
        steps, leaves = len(found.rewards), dict(_leaves(found))
        columns, following, preceding = {}, {}, {}
        for key in keys:
            where = f"{self._place}: episode {found.id}: {key!r}"
            if key not in leaves:
                raise RecordingError(f"{where} is missing; there are {sorted(leaves)}")
            kind = key.partition("/")[0]
            whole = as_rows(leaves[key], steps + (kind in (SEEN, NOTED)), where)
            columns[key] = whole[1:] if kind == NOTED else whole[:steps]
            if kind == SEEN:
                following[key] = whole[-1]
            elif kind == NOTED:
                preceding[key] = whole[0]
        return RecordedEpisode(f"episode {found.id}", columns, following, attributes, preceding)

    def _unreadable(self, error: Exception) -> RecordingError:
        return RecordingError(
            f"{self._place}: episodes cannot be read ({error}); fetch the dataset again"
        )


def minari_dataset(name: str) -> minari.MinariDataset:
    """The dataset in the folder `name`, or the one with that id among this machine's.

    Raises:
        RecordingError: there is none.
    """
    try:
        folder = Path(name).absolute()
        if not folder.is_dir():
            return minari.load_dataset(name)
        return minari.MinariDataset(folder / "data" if (folder / "data").is_dir() else folder)
    except (*FAILURES, AssertionError) as error:
        raise RecordingError(
            f"{name}: neither a folder with a Minari dataset nor one that this machine has "
            f"({error}); fetch it with `minari download {name}`"
        ) from error


def _leaves(episode: Any) -> Iterator[tuple[str, Any]]:
    for name in (SEEN, "actions", "rewards", "terminations", "truncations", NOTED):
        yield from _inside(name, getattr(episode, name))


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _inside(f"{name}/{key}", inner)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _inside(f"{name}/{index}", inner)
    elif value is not None:
        yield name, np.asarray(value)


def _is_rows(leaf: Any) -> bool:
    return leaf.dtype.kind in "fiub" and 1 <= leaf.ndim <= 2
