"""A replay's columns on the device that learns from them, beside where each task's rows are.

A copy that follows a `Replay` as that grows. Buffers stay where they are while `shape` stays the
same, so that a CUDA graph may read them. Draws nothing: that is `device_sampling`'s.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.train.data.replay import Ahead, Batch, Lookahead, Replay
from fieldtune.train.device import from_numpy

COLUMNS = ("observation", "action", "reward", "next_observation", "done")  # as in `Batch`
RETURN = "return"  # of a replay that looks to its episodes' ends


class Shape(NamedTuple):
    """Widths of the tables, each the next power of two, and the number of tasks with data."""

    rows: int
    trajectories: int
    longest: int
    known: int


class ResidentReplay:
    """What `replay` holds, on `device`; `refresh` takes over what was added since.

    Attributes:
        rows: each task's rows, `(task, width)`; counts: how many there are, `(task,)`.
        trajectories: first row and length of each task's, `(task, width, 2)`; trajectory_counts:
            how many there are, `(task,)`.
        shape: the widths, which decide the shapes of every draw.
    """

    rows: Tensor
    counts: Tensor
    trajectories: Tensor
    trajectory_counts: Tensor
    shape: Shape

    def __init__(self, replay: Replay, device: torch.device) -> None:
        self.device, self.lookahead = device, replay.lookahead
        self._replay, self._tasks, self._size = replay, replay.tasks, 0
        self._return_discount = replay.return_discount
        self._names = COLUMNS if replay.return_discount is None else (*COLUMNS, RETURN)
        arrays = replay.arrays()
        self._columns = [
            torch.zeros(replay.capacity, *arrays[name].shape[1:], device=device)
            for name in self._names
        ]
        self._last = torch.zeros(replay.capacity, dtype=torch.int64, device=device)
        self.shape = Shape(0, 0, 0, 0)
        self.refresh()

    def refresh(self) -> bool:
        """Take over what was added; whether buffers were replaced by larger ones for it."""
        before, after = self._size, self._replay.size
        if before == after:
            return False
        arrays = self._replay.arrays()
        new = slice(before, after)
        for column, name in zip(self._columns, self._names, strict=True):
            column[new] = from_numpy(arrays[name][new], self.device)
        known = arrays["trajectories"]
        last = np.repeat(known[:, 1] + known[:, 2] - 1, known[:, 2])
        self._last[new] = from_numpy(last[new], self.device)
        self._size = after
        return self._place_tables(known)

    def gather(self, rows: Tensor) -> Batch:
        """The transitions `rows` `(task, transition)`, of one step each, and to their ends if the
        replay looks there."""
        batch = Batch.of(column[rows] for column in self._columns[: len(COLUMNS)])
        if self._return_discount is None:
            return batch
        return batch._replace(to_end=self._to_end(rows, self._return_discount))

    def _to_end(self, rows: Tensor, discount: float) -> Ahead:
        last = self._last[rows]
        left = (discount ** (last - rows + 1).double()).float()
        return Ahead(self._columns[-1][rows], self._columns[3][last], self._columns[4][last], left)

    def look_ahead(self, rows: Tensor, far: Lookahead) -> Ahead:
        """What came of `rows` `(task, transition)`: as `Replay`'s."""
        reached = torch.minimum(rows + (far.steps - 1), self._last[rows])
        steps = torch.arange(far.steps, device=self.device)
        path = rows.unsqueeze(-1) + steps
        discounts = far.discount ** steps.double()
        share = torch.where(path <= reached.unsqueeze(-1), discounts, 0.0)
        rewards = self._columns[2][torch.minimum(path, reached.unsqueeze(-1))]
        return Ahead(
            (rewards * share).sum(dim=-1).float(),
            self._columns[3][reached],
            self._columns[4][reached],
            (far.discount ** (reached - rows + 1).double()).float(),
        )

    def _place_tables(self, known: NDArray[np.int64]) -> bool:
        """`known` is `(trajectory, 3)`: task, first row, length."""
        each = [known[known[:, 0] == task, 1:] for task in range(self._tasks)]
        rows = [_rows_of(found) for found in each]
        shape = Shape(
            rows=_width(max(map(len, rows))),
            trajectories=_width(max(map(len, each))),
            longest=_width(int(known[:, 2].max())),
            known=sum(len(found) > 0 for found in each),
        )
        tables = (
            _padded(rows, (shape.rows,)),
            np.array([len(found) for found in rows]),
            _padded(each, (shape.trajectories, 2)),
            np.array([len(found) for found in each]),
        )
        replaced = shape != self.shape
        if replaced:
            self.shape = shape
            placed = [from_numpy(table, self.device) for table in tables]
            self.rows, self.counts, self.trajectories, self.trajectory_counts = placed
            return True
        held = (self.rows, self.counts, self.trajectories, self.trajectory_counts)
        for place, table in zip(held, tables, strict=True):
            place.copy_(from_numpy(table))
        return False


def _rows_of(trajectories: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(
        [np.empty(0, np.int64), *(np.arange(a, a + n) for a, n in trajectories.tolist())]
    )


def _padded(found: list[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """One array of all, each filled up with zeros to `shape`."""
    table = np.zeros((len(found), *shape), np.int64)
    for row, values in zip(table, found, strict=True):
        row[: len(values)] = values
    return table


def _width(needed: int) -> int:
    return 1 << max(0, needed - 1).bit_length()
