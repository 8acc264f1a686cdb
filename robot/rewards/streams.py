"""Streams of rewards beside an episode: who gives them, and which transition each belongs to.

Holds the protocol, the driver's own rewards, and the rules for rewards that come when they come.
It must not know terminals, processes, the journal, or what rewards are used for.
"""

from __future__ import annotations

import bisect
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.timing.clock import SECOND_NS

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

_LOOK_S = 0.02


class NoRewards(UserError):
    """Nobody gives rewards here, or nobody gave any. The message says what to do."""


class RewardStream(Protocol):
    """Rewards for one episode after another, by the number of the step that each transition began
    with. Only `follow` is called by the loop, and it never blocks."""

    source: str

    @property
    def error(self) -> str:
        """Why no further rewards can come; empty while they can."""
        ...

    def open(self) -> None:
        """Begin to listen. Raises `NoRewards`, leaving nothing open."""
        ...

    def begin(self, number: int) -> None:
        """The episode with this number begins."""
        ...

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        """The next transition of the episode is complete.

        Args:
            observation, next_observation: `(observation,)`, before and after the action.
            action: `(action,)`, as applied.
        """
        ...

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:
        """The rewards by step, after the episode's end; may wait for late ones until `stop()`."""
        ...

    def close(self) -> None:
        """Safe to call twice."""
        ...


@runtime_checkable
class LiveRewards(Protocol):
    """What a stream offers besides, for adaptation within the episode: a plug-in's need not."""

    def so_far(self) -> dict[int, float]:
        """The rewards known by now, of transitions that are complete, by step.

        From any thread, at any time; never blocks. A later word may change what was told.
        """
        ...


@dataclass(frozen=True)
class GivenReward:
    """A reward as somebody gave it, at `at_ns` of this robot's monotonic clock.

    Without `step` it is about the transition under way then; without `episode`, about the episode
    that runs or has just ended.
    """

    at_ns: int
    reward: float
    step: int | None = None
    episode: int | None = None


class Listener:
    """Keeps what is said, by any thread, and sorts it to transitions when the episode has ended.

    Where two rewards are for one transition, the one said last counts. What was said before the
    episode, or names another episode or a step that is not there, is dropped, and that is logged.

    Args:
        one_word_ends: after the episode, wait for one more reward instead of for all.
    """

    def __init__(self, settings: RewardsConfig, *, one_word_ends: bool) -> None:
        self._settings = settings
        self._one_word_ends = one_word_ends
        self._said: deque[GivenReward] = deque(maxlen=100_000)
        self._number = 0
        self._began_ns = 0
        self._complete_ns: list[int] = []

    def say(self, said: GivenReward) -> None:
        """From any thread."""
        if math.isfinite(said.reward):
            self._said.append(said)

    def begin(self, number: int) -> None:
        self._said.clear()
        self._complete_ns = []
        self._number, self._began_ns = number, time.monotonic_ns()

    def complete(self) -> int:
        """One more transition is complete; return the number of the step that it began with."""
        self._complete_ns.append(time.monotonic_ns())
        return len(self._complete_ns) - 1

    def so_far(self) -> dict[int, float]:
        """As `LiveRewards.so_far`. A word about the transition under way waits for its end."""
        return self._sorted(tuple(self._said), self._complete_ns[:], over=False)[0]

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:
        """As `RewardStream.collect`."""
        transitions = len(self._complete_ns)
        if transitions == 0:
            return {}
        last_ns = self._complete_ns[-1]
        deadline = time.monotonic() + self._settings.patience_s
        while True:
            said = tuple(self._said)
            rewards, dropped = self._sorted(said, self._complete_ns, over=True)
            if (
                len(rewards) == transitions
                or (self._one_word_ends and any(word.at_ns > last_ns for word in said))
                or time.monotonic() >= deadline
                or stop()
            ):
                break
            time.sleep(_LOOK_S)
        if dropped:
            log.warning("episode %d: %d rewards belong to no transition", self._number, dropped)
        return rewards

    def _sorted(
        self, said: tuple[GivenReward, ...], complete_ns: list[int], *, over: bool
    ) -> tuple[dict[int, float], int]:
        """Rewards by step, and how many belong to none; `over` says that no transition follows."""
        found: dict[int, float] = {}
        dropped = 0
        for word in said:
            step = self._step_of(word, complete_ns)
            if over and word.step is None and step is not None:
                step = min(step, len(complete_ns) - 1)
            if step is None or not 0 <= step < len(complete_ns):
                dropped += 1
            else:
                found[step] = word.reward
        if self._settings.sticky and found:
            for step in range(min(found), len(complete_ns)):
                found.setdefault(step, found.get(step - 1, 0.0))
        return dict(sorted(found.items())), dropped

    def _step_of(self, word: GivenReward, complete_ns: list[int]) -> int | None:
        """The step that a word is about, there or not; None for another episode's."""
        if word.episode not in (None, self._number):
            return None
        if word.step is not None:
            return word.step
        meant_ns = word.at_ns - round(self._settings.delay_s * SECOND_NS)
        if meant_ns < self._began_ns:
            return None
        return bisect.bisect_right(complete_ns, meant_ns)
