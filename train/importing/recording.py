"""The contract of what reads other people's files: `fieldtune.importers`, ours and a stranger's.

A format only says what was recorded, by key; which key is which field of a family, in what unit, is
the mapping's to say. Knows no family, no task and no reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError

Columns = Mapping[str, NDArray[np.float64]]


class RecordingError(UserError):
    """A file that cannot be used. The message names file, key or episode, value and cure."""


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode as it was recorded, `T` steps of it.

    `name` is what a person finds it by in its file. `columns[key]` `(T, number)` float64 are the
    numbers of each step: what was observed before it, what was done in it, what came of it.
    `following[key]` `(number,)` is what was observed after the last step, of those keys of which
    that was recorded; `preceding[key]` what was noted before the first, of keys whose columns are
    noted after each step. `attributes` are of the whole episode: text or single numbers.
    """

    name: str
    columns: Columns
    following: Columns = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    preceding: Columns = field(default_factory=dict)


class Recording(Protocol):
    """An open file, or a folder of them.

    What an importer is: a function or class that takes the place (text: a path, or an id where the
    format has such) and its own options as keywords, and gives a `Recording`.
    """

    @property
    def keys(self) -> Mapping[str, int]:
        """How many numbers a step each key has that could be read."""
        ...

    @property
    def period_s(self) -> float | None:
        """Seconds from step to step; None where the format does not say."""
        ...

    @property
    def unread(self) -> list[str]:
        """What else there is and is never read, as sentences: videos, pictures."""
        ...

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        """Every episode, with at least the columns `keys`, all of them in `self.keys`.

        Raises:
            RecordingError: something in the file is wrong.
        """
        ...


def as_rows(numbers: Any, steps: int, what: str) -> NDArray[np.float64]:
    """`numbers` as `(steps, number)` float64.

    Args:
        what: file, episode and key, for the error.

    Raises:
        RecordingError: they are no numbers, or not as many rows.
    """
    array = np.asarray(numbers)
    if array.dtype.kind not in "fiub" or not 1 <= array.ndim <= 2 or len(array) != steps:
        raise RecordingError(
            f"{what} is {list(array.shape)} of {array.dtype}, expected numbers in {steps} rows: "
            "map another key, or record it anew"
        )
    return array.reshape(steps, -1).astype(np.float64)
