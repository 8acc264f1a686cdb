"""Rewards from a person's key presses in the terminal.

Owns the terminal's settings while it is open. It must not know which transition a press belongs to.

A key press must reach the robot at once, so the terminal neither waits for a line nor echoes.
Ctrl-C still ends the run. Ctrl-Z, Ctrl-\\ and Ctrl-S are off: a slip of the finger is no reward.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.rewards.streams import Array, GivenReward, Listener, NoRewards, RewardStream

log = logging.getLogger(__name__)

_LOCAL_FLAGS, _CONTROL_CHARACTERS = 3, 6  # places in termios' list
_DISABLED = b"\0"


def key_rewards(settings: RewardsConfig, driver: Driver) -> RewardStream:  # noqa: ARG001
    """The plug-in `keys`. Raises `NoRewards` when no key has a value."""
    return KeyRewards(settings)


class KeyRewards:
    """Implements `fieldtune.robot.rewards.streams.RewardStream` with the terminal at `descriptor`,
    standard input where not given. Keys that have no value are ignored."""

    source = "keys"

    def __init__(self, settings: RewardsConfig, descriptor: int | None = None) -> None:
        """Raises `NoRewards` when no key has a value."""
        if not settings.keys:
            raise NoRewards(
                "robot.rewards.keys is empty: say what each key is worth, for instance "
                "'robot.rewards.keys={s: 0, f: -1}' for success and failure"
            )
        self.error = ""
        self._values = settings.keys
        self._listener = Listener(settings, one_word_ends=True)
        self._descriptor = descriptor
        self._before: list[Any] | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None

    def open(self) -> None:
        if self._descriptor is None:
            self._descriptor = sys.stdin.fileno()
        if not os.isatty(self._descriptor):
            raise NoRewards(
                "robot.rewards.source is 'keys', and standard input is no terminal: run this in "
                "one, or take rewards from a program (robot.rewards.command)"
            )
        if _in_background(self._descriptor):
            raise NoRewards("keys are read in the foreground only: start this without `&`")
        self._before = termios.tcgetattr(self._descriptor)
        try:
            _take_over(self._descriptor)
            self._wake = os.pipe()
            self._thread = threading.Thread(target=self._listen, name="keys", daemon=True)
            self._thread.start()
        except BaseException:
            self.close()
            raise
        meaning = ", ".join(f"{key!r} is {value:g}" for key, value in self._values.items())
        log.info("rewards by key: %s; Ctrl-C ends the run", meaning)

    def begin(self, number: int) -> None:
        self._listener.begin(number)

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:  # noqa: ARG002
        self._listener.complete()

    def so_far(self) -> dict[int, float]:
        return self._listener.so_far()

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:
        return self._listener.collect(stop)

    def close(self) -> None:
        if self._before is not None and self._descriptor is not None:
            before, self._before = self._before, None
            with contextlib.suppress(termios.error):  # a terminal that is gone needs nothing
                termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
        if self._wake is not None:
            os.write(self._wake[1], b"x")
            if self._thread is not None:
                self._thread.join()
            for end in self._wake:
                os.close(end)
            self._wake = self._thread = None

    def _listen(self) -> None:
        assert self._descriptor is not None
        assert self._wake is not None
        waking = self._wake[0]
        while True:
            ready, _, _ = select.select([self._descriptor, waking], [], [])
            if waking in ready:
                return
            at_ns = time.monotonic_ns()
            try:
                pressed = os.read(self._descriptor, 64)
            except OSError:
                pressed = b""
            if not pressed:
                self.error = "the terminal is gone, and with it whoever gave the rewards"
                return
            for key in pressed.decode(errors="replace"):
                if key in self._values:
                    self._listener.say(GivenReward(at_ns, self._values[key]))


def _in_background(descriptor: int) -> bool:
    """Whether reading would stop this process."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:  # no job control on this terminal
        return False


def _take_over(descriptor: int) -> None:
    settings = termios.tcgetattr(descriptor)
    settings[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    characters = settings[_CONTROL_CHARACTERS]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    for stopping in (termios.VSUSP, termios.VQUIT, termios.VSTOP):
        characters[stopping] = _DISABLED
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
