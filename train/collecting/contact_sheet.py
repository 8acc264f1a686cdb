"""Pictures of a dataset's scripted episodes, for a person to look at: a row is an episode.

The episodes are acted again by the single robot, in a process of its own beside those that make the
data. Knows families and their scripts; nothing of how data are stored or learned from.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from fieldtune.child_process import ends_with_parent
from fieldtune.files import write_atomically
from fieldtune.sim.family import Array
from fieldtune.sim.scripted import scripted
from fieldtune.train.collecting.pieces import Asked

FILE = "contact.png"
ROWS, FRAMES, SIZE, GAP = 6, 6, 160, 4  # episodes, pictures of each, pixels

Film = Callable[
    [Any, int, Array, Sequence[tuple[int, int]], int, int], Iterator[list[NDArray[np.uint8]]]
]


def contact_sheet(film: Film, family: Any, seed: int, tasks: Array) -> bytes:
    """A PNG of the first episode of each of `ROWS` tasks spread over `tasks`.

    Args:
        film: renders scripted episodes, as `fieldtune.sim.planned.film_planned` does.
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


@contextmanager
def filmed_beside(asked: Asked, file: Path) -> Iterator[Callable[[], object]]:
    """Have another process write the sheet of the data that were asked for to `file`.

    Yields what waits for it. There is no file where the script cannot be filmed, or this machine
    renders nothing: the data are whole without. The process is killed when the block ends.
    """
    if not hasattr(scripted(asked.make_family()), "film") or file.exists():
        yield lambda: None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, asked.model_dump_json(), str(file.absolute())],
        stdin=subprocess.DEVNULL,
        preexec_fn=ends_with_parent(SIGKILL),
        process_group=0,  # Ctrl-C is this process's to act on; the scheduler's group stays
    )
    try:
        yield process.wait
    finally:
        process.kill()
        process.wait()


def main(asked: Asked, file: Path) -> None:
    """Write the sheet, unless this machine has no graphics."""
    family = asked.make_family()
    film: Film = scripted(family).film  # type: ignore[union-attr]
    try:
        sheet = contact_sheet(film, family, asked.seed, family.split().train)
    except (RuntimeError, ImportError):
        return
    write_atomically(file, sheet)


if __name__ == "__main__":
    main(Asked.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
