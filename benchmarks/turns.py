"""How things are timed: in turns, so that a slow moment of the machine is everybody's.

Knows functions that return a rate or a duration; does not know what they do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How much to measure. Quick is for trying a benchmark out: its numbers mean nothing."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 9

    @property
    def seconds(self) -> float:
        """Of work in one turn, at least, where the amount can be chosen."""
        return 0.01 if self.quick else 0.5

    def choose(self, full: T, quick: T) -> T:
        return quick if self.quick else full


def in_turns(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each of `runs` returns, round by round; one more round before, to warm up, is not kept.

    Every other round goes backwards, so that nobody always follows the same neighbour.
    """
    labels = list(runs)
    for label in labels:
        runs[label]()
    found: dict[str, list[float]] = {label: [] for label in labels}
    for turn in range(rounds):
        for label in labels if turn % 2 == 0 else reversed(labels):
            found[label].append(runs[label]())
    return found


def rate(run: Callable[[], int], seconds: float) -> float:
    """How many a second: `run` is called, and says how many it did, until `seconds` are over."""
    count, started = 0, time.perf_counter()
    while True:
        count += run()
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return count / elapsed


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
