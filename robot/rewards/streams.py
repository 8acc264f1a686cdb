"""Streams of rewards beside an episode: who gives them, and which transition each belongs to.

Holds the protocol, the driver's own rewards, and the rules for rewards that come when they come.
It must not know terminals, processes, the journal, or what rewards are used for.
"""

from __future__ import annotations

import bisect
import logging
import math
import threading
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

MOST_WORDS = 100_000  # that may wait to be sorted
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


_Ordered = tuple[int, float]
"""When a reward was said, by its number, and the reward."""


class Listener:
    """Keeps what is said, by any thread, and sorts it to transitions as these become complete.

    Where two rewards are for one transition, the one said last counts. What was said before the
    episode, or names another episode or a step that is not there, is dropped, and that is logged;
    so is what was said more than 100,000 words ago and nobody has asked for since.

    Args:
        one_word_ends: after the episode, wait for one more reward instead of for all.
    """

    def __init__(self, settings: RewardsConfig, *, one_word_ends: bool) -> None:
        self._settings = settings
        self._one_word_ends = one_word_ends
        self._said: deque[GivenReward] = deque(maxlen=MOST_WORDS)  # not looked at yet
        self._sorting = threading.Lock()
        self._begin_anew(0)

    def say(self, said: GivenReward) -> None:
        """From any thread; never waits."""
        if math.isfinite(said.reward):
            self._pushed_out += len(self._said) == MOST_WORDS
            self._said.append(said)

    def begin(self, number: int) -> None:
        with self._sorting:
            self._begin_anew(number)

    def complete(self) -> int:
        """One more transition is complete; return the number of the step that it began with."""
        self._complete_ns.append(time.monotonic_ns())
        return len(self._complete_ns) - 1

    def so_far(self) -> dict[int, float]:
        """As `LiveRewards.so_far`. A word about the transition under way waits for its end."""
        with self._sorting:
            complete_ns = self._complete_ns[:]
            self._sort(complete_ns)
            return self._told(self._found, len(complete_ns))

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:
        """As `RewardStream.collect`."""
        transitions = len(self._complete_ns)
        if transitions == 0:
            return {}
        last_ns = self._complete_ns[-1]
        deadline = time.monotonic() + self._settings.patience_s
        while True:
            with self._sorting:
                self._sort(self._complete_ns)
                found, dropped = self._after_the_last()
                rewards = self._told(found, transitions)
            if (
                len(rewards) == transitions
                or (self._one_word_ends and self._latest_ns > last_ns)
                or time.monotonic() >= deadline
                or stop()
            ):
                break
            time.sleep(_LOOK_S)
        if dropped:
            log.warning("episode %d: %d rewards belong to no transition", self._number, dropped)
        return rewards

    def _begin_anew(self, number: int) -> None:
        self._said.clear()
        self._words = 0  # so far: the later of two is the one with the larger number
        self._found: dict[int, _Ordered] = {}
        self._ahead: dict[int, list[_Ordered]] = {}  # of steps that are not there yet
        self._under_way: list[tuple[int, GivenReward]] = []  # about a transition without its end
        self._sorted_to = 0
        self._dropped = self._pushed_out = 0
        self._latest_ns = 0
        self._complete_ns: list[int] = []
        self._number, self._began_ns = number, time.monotonic_ns()

    def _sort(self, complete_ns: list[int]) -> None:
        """Give each word that is about a transition which is complete to that, once and for all:
        what was sorted, and what waits for its step, is not looked at again."""
        for step in range(self._sorted_to, len(complete_ns)):
            for ordered in self._ahead.pop(step, ()):
                self._find(step, ordered)
        words: list[tuple[int, GivenReward]] = []
        if len(complete_ns) > self._sorted_to:
            words, self._under_way = self._under_way, []
        self._sorted_to = len(complete_ns)
        while self._said:
            self._words += 1
            words.append((self._words, self._said.popleft()))
            self._latest_ns = max(self._latest_ns, words[-1][1].at_ns)
        for order, said in words:
            about = self._step_of(said, complete_ns)
            if about is None or about < 0:
                self._dropped += 1
            elif about < len(complete_ns):
                self._find(about, (order, said.reward))
            elif said.step is None:
                self._under_way.append((order, said))
            elif len(self._ahead) < MOST_WORDS:
                self._ahead.setdefault(about, []).append((order, said.reward))
            else:
                self._dropped += 1

    def _find(self, step: int, word: _Ordered) -> None:
        self._found[step] = max(word, self._found.get(step, word))

    def _after_the_last(self) -> tuple[dict[int, _Ordered], int]:
        """What was found, now that no transition follows: what was said after the last is about
        it. Also how many words are about none."""
        last = len(self._complete_ns) - 1
        found = dict(self._found)
        if self._under_way:
            order, said = self._under_way[-1]
            late = order, said.reward
            found[last] = max(late, found.get(last, late))
        ahead = sum(len(words) for words in self._ahead.values())
        return found, self._dropped + self._pushed_out + ahead

    def _told(self, found: dict[int, _Ordered], complete: int) -> dict[int, float]:
        """By step, in order; each also for the steps after it where the settings say so."""
        rewards = {step: found[step][1] for step in sorted(found)}
        if not (self._settings.sticky and rewards):
            return rewards
        held, goes_on = 0.0, {}
        for step in range(next(iter(rewards)), complete):
            goes_on[step] = held = rewards.get(step, held)
        return goes_on

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
