"""Pictures of a dataset's scripted episodes, for a person to look at: a row is an episode.

The episodes are acted again by the single robot. Knows families and their scripts; nothing of how
data are stored or learned from.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from fieldtune.sim.family import Array

FILE = "contact.png"
ROWS, FRAMES, SIZE, GAP = 6, 6, 160, 4  # episodes, pictures of each, pixels

Film = Callable[
    [Any, int, Array, Sequence[tuple[int, int]], int, int], Iterator[list[NDArray[np.uint8]]]
]


def contact_sheet(film: Film, family: Any, seed: int, tasks: Array) -> bytes:
    """A PNG of the first episode of each of `ROWS` tasks spread over `tasks`.

    Args:
        film: renders scripted episodes, as `fieldtune.sim.manipulation.scripted.film` does.
        family: which arm and scene.
        seed: of the collection that the episodes are of.
        tasks: of that collection, `(task, parameter)`.

    Raises:
        RuntimeError: this machine has no graphics. The message says what to install.
    """
    chosen = np.unique(np.linspace(0, len(tasks) - 1, ROWS).astype(int))
    jobs = [(int(task), 0) for task in chosen]
    rows = [
        np.concatenate([_framed(picture) for picture in pictures], axis=1)
        for pictures in film(family, seed, tasks, jobs, FRAMES, SIZE)
    ]
    buffer = io.BytesIO()
    imsave(buffer, np.concatenate(rows, axis=0), format="png")
    return buffer.getvalue()


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with white pixels to the right and below."""
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
