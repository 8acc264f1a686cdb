"""D4RL's HDF5: flat arrays, a row a transition, `terminals` and `timeouts` at ends of episodes.

As D4RL (Fu et al. 2020, github.com/Farama-Foundation/D4RL) and its heirs write them. With
`next_observations` it is known what an episode's last step led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.train.importing.formats.hdf5_tree import attributes, leaves, opened, width
from fieldtune.train.importing.recording import RecordedEpisode, RecordingError, as_rows

BEFORE, AFTER = "observations", "next_observations"
ENDS = ("terminals", "timeouts")
_ROUNDING = 2.0**-23  # of a number: twice the most that float32 rounds by


class D4rl:
    """A `Recording`: one file."""

    def __init__(self, place: str) -> None:
        self._path = Path(place)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and width of what has a row a transition."""
        with opened(self._path) as file:
            found = {
                key: (len(leaf), wide)
                for key, leaf in leaves(self._path, file)
                if (wide := width(leaf)) is not None
            }
        if "actions" not in found or not any(end in found for end in ENDS):
            raise RecordingError(
                f"{self._path}: keys are {sorted(found)}, expected 'actions' and at least one of "
                f"{list(ENDS)}, which say where episodes end: write them, or choose another format"
            )
        rows = found["actions"][0]
        for end in ENDS:
            if end in found and found[end] != (rows, 1):
                raise RecordingError(
                    f"{self._path}: {end!r} is {list(found[end])}, expected [{rows}, 1] like "
                    "'actions': fetch the file again"
                )
        return found

    @property
    def keys(self) -> dict[str, int]:
        rows = self._shapes["actions"][0]
        return {k: w for k, (n, w) in self._shapes.items() if n == rows and k != AFTER}

    @property
    def period_s(self) -> float | None:
        return None

    @property
    def unread(self) -> list[str]:
        rows = self._shapes["actions"][0]
        short = [key for key, (n, _) in self._shapes.items() if n != rows]
        return [f"{key!r}: not a row a transition" for key in short]

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        rows = self._shapes["actions"][0]
        wanted = set(keys) | {end for end in ENDS if end in self._shapes}
        with opened(self._path) as file:
            columns = {k: as_rows(file[k][:], rows, f"{self._path}: {k!r}") for k in wanted}
            led_to = None
            if BEFORE in keys and AFTER in self._shapes:
                led_to = as_rows(file[AFTER][:], rows, f"{self._path}: {AFTER!r}")
            known = attributes(file)
        ended = np.any([columns[end][:, 0] != 0 for end in ENDS if end in columns], axis=0)
        if led_to is not None:
            self._require_in_order(columns[BEFORE], led_to, ended)
        starts = [0, *(int(row) + 1 for row in np.flatnonzero(ended) if row + 1 < rows)]
        for number, (first, end) in enumerate(zip(starts, [*starts[1:], rows], strict=True)):
            yield RecordedEpisode(
                f"episode {number} (rows {first} to {end - 1})",
                {key: column[first:end] for key, column in columns.items()},
                {} if led_to is None else {BEFORE: led_to[end - 1]},
                known,
            )

    def _require_in_order(
        self, seen: NDArray[Any], led_to: NDArray[Any], ended: NDArray[np.bool_]
    ) -> None:
        size = np.maximum(np.abs(seen[1:]), np.abs(led_to[:-1]))
        same = (np.abs(seen[1:] - led_to[:-1]) <= _ROUNDING * size).all(axis=1)
        broken = np.flatnonzero(~same & ~ended[:-1])
        if len(broken):
            raise RecordingError(
                f"{self._path}: {AFTER!r} of row {broken[0]} is not {BEFORE!r} of row "
                f"{broken[0] + 1} ({len(broken)} such rows), and neither of {list(ENDS)} marks an "
                "end there: mark it in 'timeouts', and give rows as they were recorded, not "
                "shuffled"
            )
