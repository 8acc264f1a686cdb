"""The per-task HDF5 files that offline meta-RL baselines share, read as episodes.

One file a task, a row a transition, keys `KEYS`; others are ignored. As MACAW writes them (Mitchell
et al. 2021, github.com/eric-mitchell/macaw, src/utils.py), each trajectory stands *backwards*;
others may write forwards. Which it is, and where one ends, shows in which rows follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import TaskFamily, width
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import problem
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.data.subsample import thinned
from fieldtune.train.importing.formats.hdf5_tree import FAILURES, unreadable
from fieldtune.train.importing.source import unnamed

KEYS = ("obs", "actions", "next_obs", "rewards", "terminals")
ROUNDING = 2.0**-23  # of a number: twice the most that float32 rounds by
STRIDE = 7  # every 7th transition is what the baselines use


@dataclass(frozen=True)
class TransitionFiles:
    """A source of episodes: `pattern` with `{task}` in it is a task's file.

    Of its `last` rows (None: of all), every `stride`-th is kept, counted from the first of them.
    """

    pattern: str
    family: TaskFamily
    stride: int = STRIDE
    last: int | None = None
    _unkept: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def episodes(self, task: str) -> list[LabelledEpisode]:
        """The episodes of the task called `task`.

        Raises:
            DatasetError: no such file, or not one of `family`; names file, key, value and cure.
        """
        path = Path(self.pattern.replace("{task}", task))
        found = _trajectories(path, self.family, self.stride, self.last)
        self._unkept[task] = found.count(None)
        return [episode for episode in found if episode is not None]

    def how(self) -> dict[str, Any]:
        """For the card."""
        name = Path(self.pattern).name
        return {"policy": f"HDF5 files {name}", "stride": self.stride, "last": self.last}

    def left_out(self, tasks: Sequence[str]) -> list[str]:
        """As `Source.left_out`: files of no task, and episodes between the rows that are kept."""
        unkept = sum(self._unkept.values())
        short = f"{unkept} episodes so short that none of their rows is every {self.stride}th"
        return [*unnamed(self.pattern, tasks, Path.is_file), *([short] if unkept else [])]


def read_transitions(
    path: Path, family: TaskFamily, stride: int = STRIDE, last: int | None = None
) -> list[LabelledEpisode]:
    """One task's file as episodes with `task_index` 0, thinned out to every `stride`-th row.

    A `terminals` row ends its episode. After `family.horizon` steps that is the time limit, and the
    episode does not count as terminated. An episode is checked (`fieldtune.train.data.admission`)
    as a whole, before it is thinned out.

    Args:
        path: the HDF5 file.
        family: what widths, horizon and bounds are checked against.
        stride: counted from the first row that is read.
        last: read only that many rows at the file's end; None: all.

    Raises:
        DatasetError: see `TransitionFiles.episodes`.
    """
    found = _trajectories(path, family, stride, last)
    return [episode for episode in found if episode is not None]


def _trajectories(
    path: Path, family: TaskFamily, stride: int, last: int | None
) -> list[LabelledEpisode | None]:
    """The thinned out episodes of a file; None for one of which no row is kept."""
    rows = _rows(path, family, last)
    n = len(rows["obs"])
    forward = _same(rows["next_obs"][:-1], rows["obs"][1:])
    backward = _same(rows["obs"][:-1], rows["next_obs"][1:])
    follow = max(forward.sum(), backward.sum())
    if follow < (n - 1) / 2:
        raise DatasetError(
            f"{path}: only {follow} of {n} rows have a next_obs that is the obs of a row beside "
            "them, so that its trajectories cannot be told: give the file as it was recorded, "
            "neither shuffled nor thinned out"
        )
    order = np.arange(n)
    linked = forward
    if backward.sum() > forward.sum():
        order, linked = order[::-1], backward[::-1]
    rows = {key: column[order] for key, column in rows.items()}
    ended = rows["terminals"] > 0
    unended = np.flatnonzero(linked & ended[:-1])
    if len(unended):
        row = int(order[unended[0]])
        raise DatasetError(
            f"{path}: 'terminals' row {row} ends an episode, but its next_obs is the obs of the "
            "row that follows: an environment that reset itself wrote the next episode's start in "
            "the place of where this one ended, or the mark is wrong; write what the step led to"
        )
    starts = np.flatnonzero(~linked | ended[:-1]) + 1
    found: list[LabelledEpisode | None] = []
    for first, end in zip([0, *starts], [*starts, n], strict=True):
        episode = _episode(rows, int(first), int(end), family.horizon)
        wrong = problem(episode, family)
        if wrong:
            least, most = sorted((int(order[first]), int(order[end - 1])))
            raise DatasetError(
                f"{path}: rows {least} to {most} follow each other as one episode: {wrong}"
                + (_TOO_LONG if episode.steps > family.horizon else "")
            )
        kept = np.flatnonzero(order[first:end] % stride == 0)
        found.append(thinned(episode, kept) if len(kept) else None)
    return found if order[0] == 0 else found[::-1]


_TOO_LONG = (
    " (an environment that resets itself hides where episodes end): cut longer ones, and start "
    "each with the obs after its reset"
)


def _same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are the same but for what is lost when one of them was kept as float32."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    size = np.maximum(np.abs(one), np.abs(other))
    return np.asarray((np.abs(one - other) <= ROUNDING * size).all(axis=1))


def _episode(rows: dict[str, NDArray[Any]], first: int, end: int, horizon: int) -> LabelledEpisode:
    part = slice(first, end)
    return LabelledEpisode(
        task_index=0,
        observations=np.concatenate([rows["obs"][part], rows["next_obs"][end - 1 : end]]).astype(
            np.float64
        ),
        actions=rows["actions"][part].astype(np.float64),
        rewards=rows["rewards"][part].astype(np.float64),
        terminated=bool(rows["terminals"][end - 1]) and end - first < horizon,
    )


def _rows(path: Path, family: TaskFamily, last: int | None) -> dict[str, NDArray[Any]]:
    """The file's columns, checked: `(row, feature)`, rewards and terminals `(row,)`."""
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; every task needs one: check the pattern")
    try:
        with h5py.File(path, "r") as file:
            found = {key: _column(path, file, key, last) for key in KEYS}
    except DatasetError:
        raise
    except FAILURES as error:
        raise DatasetError(unreadable(path, error)) from error
    n = len(found["obs"])
    if n == 0:
        raise DatasetError(f"{path}: 'obs' has no rows, expected at least one; fetch it again")
    observed, acted = width(family.observation_fields), width(family.action_fields)
    wanted = {"obs": observed, "next_obs": observed, "actions": acted, "rewards": 1, "terminals": 1}
    for key, expected in wanted.items():
        column = found[key]
        across = 1 if column.ndim == 1 else column.shape[1]
        if column.ndim > 2 or across != expected:
            raise DatasetError(
                f"{path}: {key!r} is {list(column.shape)}, expected [rows, {expected}] for "
                f"{family.name} ({family.robot}): import it into the family it was made with"
            )
        if len(column) != n:
            raise DatasetError(
                f"{path}: {key!r} has {len(column)} rows, 'obs' has {n}: all keys must have as "
                "many; fetch the file again"
            )
        bad = np.flatnonzero(~np.isfinite(column.reshape(n, -1)).all(axis=1))
        if len(bad):
            value = column[bad[0]]
            raise DatasetError(
                f"{path}: {key!r} row {bad[0]} is {np.array2string(value, threshold=8)}, expected "
                f"finite numbers, as in {n - len(bad)} other rows: remove such rows or the file"
            )
    flat = ("rewards", "terminals")
    return {k: column.reshape(-1 if k in flat else (n, wanted[k])) for k, column in found.items()}


def _column(path: Path, file: h5py.File, key: str, last: int | None) -> NDArray[Any]:
    if key not in file:
        raise DatasetError(
            f"{path}: no key {key!r}, only {sorted(file)}: files of one task need {list(KEYS)}"
        )
    link = file.get(key, getlink=True)
    elsewhere = isinstance(link, h5py.ExternalLink)
    column: Any = None if elsewhere else file[key]
    if elsewhere or (isinstance(column, h5py.Dataset) and (column.external or column.is_virtual)):
        raise DatasetError(f"{path}: {key!r} is kept in another file: write it into this one")
    if not isinstance(column, h5py.Dataset) or column.dtype.kind not in "fiub" or not column.shape:
        raise DatasetError(
            f"{path}: {key!r} is {column!r}, expected an array of numbers with a row a transition"
        )
    return np.asarray(column[:] if last is None else column[-last:])
