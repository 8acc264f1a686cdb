"""Transitions of many tasks, drawn per task, with whole trajectories remembered for contexts.

Holds numbers in training units only; does not know where they come from or who labelled them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.train.device import CPU, from_numpy

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trajectory:
    """One episode in training units.

    Attributes:
        observations: `(T+1, observation)`, the last one being where it ended.
        following: `(T, observation)`, what each step led to, in an episode that was thinned out;
            None where the next row of `observations` is that.
        actions: `(T, action)` in [−1, 1]; rewards: `(T,)`, standardised.
        terminated: whether the last state is terminal (not a time limit).
    """

    observations: Floats
    actions: Floats
    rewards: Floats
    terminated: bool
    following: Floats | None = None

    @property
    def next_observations(self) -> Floats:
        """`(T, observation)`."""
        return self.observations[1:] if self.following is None else self.following

    @property
    def whole(self) -> bool:
        """Whether each step follows from the one before it."""
        following = self.next_observations
        return bool(np.array_equal(following[:-1], self.observations[1:-1]))


class Ahead(NamedTuple):
    """What came of each transition within some steps, or to its episode's end if that is nearer.

    Attributes:
        reward: Σ γ^j·r of those k steps, of standardised rewards, `(task, transition)`.
        observation: the state k steps on, `(task, transition, observation)`.
        done: whether that is terminal, `(task, transition)`.
        discount: γ^k, `(task, transition)`.
    """

    reward: Tensor
    observation: Tensor
    done: Tensor
    discount: Tensor


class Batch(NamedTuple):
    """Transitions `(task, transition, feature)`; `reward` and `done` are `(task, transition)`.

    `reward` is standardised. `done` is 1 only at terminal states, never at a time limit. `ahead` is
    None where nothing looks further than one step. `counted` `(task, transition)` is 1 where a
    transition belongs to a context and 0 where it fills it up to a fixed length; None: all belong.
    `to_end` looks ahead to the episode's end, for Monte-Carlo returns; None where none are asked
    for (`fieldtune.train.agent.units.return_discount`).
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    done: Tensor
    ahead: Ahead | None = None
    counted: Tensor | None = None
    to_end: Ahead | None = None

    @classmethod
    def of(cls, columns: Iterable[Tensor]) -> Batch:
        """Of its five columns from `observation` to `done` alone."""
        observation, action, reward, next_observation, done = columns
        return cls(observation, action, reward, next_observation, done)

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every column changed in one way."""
        ahead, to_end = (
            None if found is None else Ahead(*map(change, found))
            for found in (self.ahead, self.to_end)
        )
        counted = None if self.counted is None else change(self.counted)
        return Batch._make((*map(change, self[:5]), ahead, counted, to_end))

    @property
    def belonging(self) -> Tensor:
        """1 where a transition belongs, 0 where it fills up, `(task, transition)`."""
        return torch.ones_like(self.reward) if self.counted is None else self.counted


def concatenate(parts: list[Batch]) -> Batch:
    """Join batches of which all transitions count along the transition axis; all of them look
    ahead, or none, and likewise to the end."""
    columns = zip(*(part[:5] for part in parts), strict=True)
    ahead = _joined([part.ahead for part in parts], _along_rows)
    to_end = _joined([part.to_end for part in parts], _along_rows)
    return Batch._make((*map(_along_rows, columns), ahead, None, to_end))


def stack_tasks(parts: Sequence[Batch]) -> Batch:
    """Join batches of one length along the task axis; all of them look ahead, or none, and likewise
    to the end. Which transitions count stays known."""
    columns = zip(*(part[:5] for part in parts), strict=True)
    ahead = _joined([part.ahead for part in parts], torch.cat)
    to_end = _joined([part.to_end for part in parts], torch.cat)
    whole = all(part.counted is None for part in parts)
    counted = None if whole else torch.cat([part.belonging for part in parts])
    return Batch._make((*map(torch.cat, columns), ahead, counted, to_end))


def _joined(
    parts: list[Ahead | None], join: Callable[[tuple[Tensor, ...]], Tensor]
) -> Ahead | None:
    known = [part for part in parts if part is not None]
    return Ahead(*map(join, zip(*known, strict=True))) if known else None


def _along_rows(columns: tuple[Tensor, ...]) -> Tensor:
    return torch.cat(columns, dim=1)


@dataclass(frozen=True)
class Lookahead:
    """How far transitions look ahead, in steps, and the discount γ on the way."""

    steps: int
    discount: float


def discounted_returns(rewards: Floats, discount: float) -> Floats:
    """Σ γ^j·r from each step of an episode to its end, `(T,)` of `(T,)`."""
    found, later = np.zeros(len(rewards)), 0.0
    for step in range(len(rewards) - 1, -1, -1):
        later = found[step] = float(rewards[step]) + discount * later
    return found.astype(np.float32)


class Replay:
    """Fixed-capacity store; `add` appends whole trajectories and never forgets.

    With `lookahead`, what `transitions` gives looks that far ahead; with `return_discount`, all
    that is given looks to its episode's end too, at that discount. It holds numpy arrays, and what
    it gives is on `device`.
    """

    def __init__(
        self,
        tasks: int,
        capacity: int,
        observation: int,
        action: int,
        lookahead: Lookahead | None = None,
        device: torch.device = CPU,
        return_discount: float | None = None,
    ) -> None:
        self.capacity, self.device = capacity, device
        self.lookahead, self.return_discount = lookahead, return_discount
        self.size = 0
        self._observation = np.zeros((capacity, observation), np.float32)
        self._action = np.zeros((capacity, action), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._next = np.zeros((capacity, observation), np.float32)
        self._done = np.zeros(capacity, np.float32)
        self._last = np.zeros(capacity, np.int64)  # row of the last step of each one's episode
        self._return = np.zeros(0 if return_discount is None else capacity, np.float32)
        self._rows: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in range(tasks)]
        self._trajectories: list[list[tuple[int, int]]] = [[] for _ in range(tasks)]

    @property
    def tasks(self) -> int:
        """How many there is room for, with data or without."""
        return len(self._rows)

    @property
    def tasks_with_data(self) -> list[int]:
        return [task for task, rows in enumerate(self._rows) if len(rows)]

    def add(self, task: int, trajectory: Trajectory) -> None:
        """Append one trajectory to `task`'s data.

        Raises:
            ValueError: it does not fit, or rows shall look ahead where some are missing.
        """
        length, discount = len(trajectory.actions), self.return_discount
        if (self.lookahead is not None or discount is not None) and not trajectory.whole:
            raise ValueError("an episode that was thinned out has no steps ahead to look at")
        if self.size + length > self.capacity:
            raise ValueError(
                f"replay holds {self.size} of {self.capacity} transitions; {length} more do not fit"
            )
        rows = np.arange(self.size, self.size + length)
        self._observation[rows] = trajectory.observations[:-1]
        self._action[rows] = trajectory.actions
        self._reward[rows] = trajectory.rewards
        self._next[rows] = trajectory.next_observations
        self._done[rows[-1]] = trajectory.terminated
        self._last[rows] = rows[-1]
        if discount is not None:
            self._return[rows] = discounted_returns(trajectory.rewards, discount)
        self._rows[task] = np.concatenate([self._rows[task], rows])
        self._trajectories[task].append((self.size, length))
        self.size += length

    def on(self, device: torch.device) -> Replay:
        """The same data, given on another device; of a replay that is not added to any more."""
        other = copy.copy(self)
        other.device = device
        return other

    def latest(self, episodes: int) -> Replay:
        """The same data, but of each task its last `episodes` alone; it is not to be added to."""
        other = copy.copy(self)
        other._trajectories = [found[-episodes:] for found in self._trajectories]
        other._rows = [
            np.concatenate([np.arange(first, first + length) for first, length in found])
            if found
            else np.empty(0, np.int64)
            for found in other._trajectories
        ]
        return other

    def transitions(self, rng: np.random.Generator, tasks: list[int], n: int) -> Batch:
        """`n` independent transitions of each task, drawn with replacement.

        Args:
            rng: of the draws.
            tasks: their numbers, each of a task with data.
            n: how many of each.
        """
        rows = [self._rows[task][rng.integers(len(self._rows[task]), size=n)] for task in tasks]
        batch = self._gather(rows)
        if self.lookahead is None:
            return batch
        return batch._replace(ahead=self._look_ahead(np.stack(rows), self.lookahead))

    def context(
        self, rng: np.random.Generator, tasks: list[int], n: int, trajectories: int | None
    ) -> Batch:
        """`n` transitions of each task, from whole trajectories or all its data; none looks ahead.

        Args:
            rng: of the draws.
            tasks: their numbers, each of a task with data.
            n: how many of each, with replacement only where there are fewer.
            trajectories: how many whole ones to draw first, with replacement, and then draw from;
                None: from all data.
        """
        return self._gather([self._context_rows(rng, task, n, trajectories) for task in tasks])

    def episodes(self, rng: np.random.Generator, tasks: list[int], n: int) -> Batch:
        """`n` whole episodes of each task one after another, their steps in order; none looks
        ahead.

        As long as the longest of the tasks: what fills up the others behind their end is not
        `counted`.

        Args:
            rng: of the draws.
            tasks: their numbers, each of a task with data; one that is there twice is drawn twice.
            n: how many of each, with replacement only where there are fewer.
        """
        rows = [self._episode_rows(rng, task, n) for task in tasks]
        lengths = np.array([len(own) for own in rows])
        filled = [np.pad(own, (0, lengths.max() - len(own)), mode="edge") for own in rows]
        counted = (np.arange(lengths.max()) < lengths[:, None]).astype(np.float32)
        return self._gather(filled)._replace(counted=from_numpy(counted, self.device))

    def arrays(self, first: int = 0) -> dict[str, NDArray[Any]]:
        """The transitions from number `first` on, with which a trajectory begins, for a
        checkpoint."""
        rows = slice(first, self.size)
        known = [
            (task, start - first, length)
            for task, found in enumerate(self._trajectories)
            for start, length in found
            if start >= first
        ]
        return {
            "observation": self._observation[rows],
            "action": self._action[rows],
            "reward": self._reward[rows],
            "next_observation": self._next[rows],
            "done": self._done[rows],
            **({} if self.return_discount is None else {"return": self._return[rows]}),
            "trajectories": np.array(sorted(known, key=lambda row: row[1])).reshape(-1, 3),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add what `arrays` gave, in the same order."""
        for task, start, length in arrays["trajectories"].tolist():
            rows = slice(start, start + length)
            observations = np.concatenate(
                [arrays["observation"][rows], arrays["next_observation"][rows][-1:]]
            )
            trajectory = Trajectory(
                observations,
                arrays["action"][rows],
                arrays["reward"][rows],
                bool(arrays["done"][rows][-1]),
                arrays["next_observation"][rows],
            )
            self.add(task, trajectory)

    def _context_rows(
        self, rng: np.random.Generator, task: int, n: int, trajectories: int | None
    ) -> NDArray[np.int64]:
        rows = self._rows[task]
        if trajectories is not None:
            chosen = rng.integers(len(self._trajectories[task]), size=trajectories)
            rows = self._rows_of(task, chosen)
        return rng.choice(rows, size=n, replace=len(rows) < n)

    def _episode_rows(self, rng: np.random.Generator, task: int, n: int) -> NDArray[np.int64]:
        known = len(self._trajectories[task])
        return self._rows_of(task, rng.choice(known, size=n, replace=known < n))

    def _rows_of(self, task: int, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of these trajectories of a task, one after another."""
        known = self._trajectories[task]
        return np.concatenate([np.arange(known[i][0], known[i][0] + known[i][1]) for i in chosen])

    def _look_ahead(self, rows: NDArray[np.int64], far: Lookahead) -> Ahead:
        """Of `rows` `(task, transition)`."""
        reached = np.minimum(rows + far.steps - 1, self._last[rows])
        path = rows[..., None] + np.arange(far.steps)
        share = np.where(path <= reached[..., None], far.discount ** np.arange(far.steps), 0.0)
        rewards = self._reward[np.minimum(path, reached[..., None])]
        columns = (
            (rewards * share).sum(axis=-1).astype(np.float32),
            self._next[reached],
            self._done[reached],
            (far.discount ** (reached - rows + 1)).astype(np.float32),
        )
        return Ahead(*(from_numpy(column, self.device) for column in columns))

    def _gather(self, rows: list[NDArray[np.int64]]) -> Batch:
        index = np.stack(rows)
        columns = self._observation, self._action, self._reward, self._next, self._done
        drawn = (from_numpy(column[index], self.device) for column in columns)
        batch = Batch.of(drawn)
        if self.return_discount is None:
            return batch
        return batch._replace(to_end=self._to_end(index, self.return_discount))

    def _to_end(self, rows: NDArray[np.int64], discount: float) -> Ahead:
        """Of `rows` `(task, transition)`."""
        last = self._last[rows]
        left = (discount ** (last - rows + 1)).astype(np.float32)
        columns = self._return[rows], self._next[last], self._done[last], left
        return Ahead(*(from_numpy(column, self.device) for column in columns))
