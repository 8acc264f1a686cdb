"""Several jobs in one process, a thread each, of which one computes at a time: whose turn it is.

Torch's global random states, of the CPU and of the GPU, are each job's own, so that a job draws
what it draws alone. A job that only waits stands `aside` meanwhile; the GPU works for all at once,
on a stream for each. In a process of one job nothing here does anything. Knows torch alone: not
what jobs are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Turns:
    """Who computes, and who waits for it: first come, first served.

    Args:
        jobs: how many take part.

    Attributes:
        ending: set where the process is to end, once each job has saved what it learned.
        saving: how many jobs would save something if they were waited for.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.ending = False
        self.saving = 0
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False
        self._first = torch.get_rng_state()  # what a job alone would begin from

    @contextmanager
    def taking_part(self) -> Iterator[None]:
        """The calling thread is one job's while the block runs, which begins with its turn."""
        own = _own.place = _Place(self, self._first)
        own.take()
        try:
            yield
        finally:
            own.give()
            _own.place = None

    @property
    def wanted(self) -> bool:
        """Whether another job waits for its turn."""
        return bool(self._waiting)

    def take(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        called.acquire()

    def give(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class _Place:
    """One job's, with its random states while others compute."""

    def __init__(self, turns: Turns, state: torch.Tensor) -> None:
        self.turns, self.computing = turns, False
        self._state = state
        self._gpu: torch.Generator | None = None

    def take(self) -> None:
        self.turns.take()
        self.computing = True
        torch.set_rng_state(self._state)
        self._point_to_own()

    def give(self) -> None:
        self._state = torch.get_rng_state()
        self.computing = False
        self.turns.give()

    def compute_on(self, device: torch.device) -> None:
        torch.cuda.set_stream(torch.cuda.Stream(device))
        self._gpu = torch.Generator(device)
        self._point_to_own()

    def _point_to_own(self) -> None:
        """The GPU's state is not copied but pointed to: a graph that is still running goes on
        reading the one that it was captured with."""
        if self._gpu is not None:
            index = self._gpu.device.index
            torch.cuda.default_generators[index].graphsafe_set_state(self._gpu)


class _Own(threading.local):
    place: _Place | None = None


_own = _Own()


def jobs_here() -> int:
    """How many jobs share this process."""
    return 1 if _own.place is None else _own.place.turns.jobs


@contextmanager
def would_save() -> Iterator[Callable[[], bool]]:
    """The block saves what it has come to where the process is to end: it looks, now and then, at
    the function that is given. In a process of one job it is never told so."""
    place = _own.place
    if place is None:
        yield lambda: False
        return
    turns = place.turns
    turns.saving += 1  # by a job whose turn it is, and so by one at a time
    try:
        yield lambda: turns.ending
    finally:
        turns.saving -= 1


def compute_on(device: torch.device) -> None:
    """From now on this thread's job computes on a stream of its own of `device`, where that is a
    GPU, and draws from a random state of its own there; before it seeds or draws anything."""
    if _own.place is not None and device.type == "cuda":
        _own.place.compute_on(device)


def let_others() -> None:
    """Every other job that waits has its turn before this one goes on."""
    place = _own.place
    if place is not None and place.computing and place.turns.wanted:
        place.give()
        place.take()


@contextmanager
def aside() -> Iterator[None]:
    """Others compute while the block runs, which must leave torch alone but in `computing`."""
    place = _own.place
    if place is None or not place.computing:
        yield
        return
    place.give()
    try:
        yield
    finally:
        place.take()


@contextmanager
def computing() -> Iterator[None]:
    """It is this job's turn while the block runs; inside `aside`."""
    place = _own.place
    if place is None or place.computing:
        yield
        return
    place.take()
    try:
        yield
    finally:
        place.give()
