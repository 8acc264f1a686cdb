"""Rewards from a program: a sensor's reader, a camera's judge, a script.

Owns that process and two threads. The program prints one JSON value a line: a number, or an object
with `step`, `reward` and, to be sure, `episode`. On its standard input it may read each transition,
one JSON object a line; docs/adapt.md has both. It must not know which transition a number is for.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import msgspec

from fieldtune.child_process import end_group, start_group
from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.rewards.streams import Array, GivenReward, Listener, NoRewards, RewardStream

log = logging.getLogger(__name__)

WAITING_LINES = 1_000  # for a program that does not read; more are left out
LONGEST_LINE = 65_536
FAREWELL_S = 1.0
_COMPLAINTS = 5


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    reward: float
    step: int | None = None
    episode: int | None = None


_decoder = msgspec.json.Decoder(float | _Line)
_encoder = msgspec.json.Encoder()


def command_rewards(settings: RewardsConfig, driver: Driver) -> RewardStream:  # noqa: ARG001
    """The plug-in `command`. Raises `NoRewards` when no command is set."""
    return CommandRewards(settings)


class CommandRewards:
    """Implements `fieldtune.robot.rewards.streams.RewardStream` with a program in its own group.

    A line that cannot be read is left out, and said; a program that ends is an `error`.
    """

    source = "command"

    def __init__(self, settings: RewardsConfig) -> None:
        """Raises `NoRewards` when no command is set."""
        if not settings.command:
            raise NoRewards(
                "robot.rewards.command is empty: name the program that prints rewards, for "
                "instance 'robot.rewards.command=[python, judge.py]'"
            )
        self.error = ""
        self._command, self._folder = settings.command, settings.folder
        self._listener = Listener(settings, one_word_ends=False)
        self._number = 0
        self._complaints = self._unread = 0
        self._to_tell: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        try:
            self._process = start_group(self._command, self._folder)
        except OSError as error:
            raise NoRewards(f"robot.rewards.command cannot be started: {error}") from error
        for target in (self._listen, self._speak):
            thread = threading.Thread(target=target, name="rewards", daemon=True)
            thread.start()
            self._threads.append(thread)

    def begin(self, number: int) -> None:
        self._number = number
        self._listener.begin(number)
        self._tell({"episode": number, "begins": True})

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        step = self._listener.complete()
        told = {"episode": self._number, "step": step, "observation": observation}
        self._tell(told | {"action": action, "next_observation": next_observation})

    def so_far(self) -> dict[int, float]:
        return self._listener.so_far()

    def collect(self, stop: Callable[[], bool]) -> dict[int, float]:
        self._tell({"episode": self._number, "ended": True})
        rewards = self._listener.collect(lambda: stop() or bool(self.error))
        if self._unread:
            log.warning("%d lines were not read by %s", self._unread, self._command[0])
            self._unread = 0
        return rewards

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._to_tell.put(None)
        end_group(process, FAREWELL_S)
        for thread in self._threads:
            thread.join(FAREWELL_S)

    def _tell(self, told: dict[str, Any]) -> None:
        if self._to_tell.qsize() >= WAITING_LINES:
            self._unread += 1
        else:
            self._to_tell.put(told)

    def _speak(self) -> None:
        assert self._process is not None
        stream: IO[bytes] | None = self._process.stdin
        assert stream is not None
        with contextlib.suppress(OSError), stream:  # it need not read; its end is heard elsewhere
            while (told := self._to_tell.get()) is not None:
                plain = {
                    key: value.tolist() if hasattr(value, "tolist") else value
                    for key, value in told.items()
                }
                stream.write(_encoder.encode(plain) + b"\n")
                stream.flush()

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as stream:
            while line := stream.readline(LONGEST_LINE):
                at_ns = time.monotonic_ns()
                if line.strip():
                    self._hear(line, at_ns)
        status = process.wait()
        if self._process is not None:
            self.error = f"{self._command[0]}, which gives the rewards, ended with status {status}"

    def _hear(self, line: bytes, at_ns: int) -> None:
        try:
            said = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._complaints += 1
            if self._complaints <= _COMPLAINTS:
                log.warning("%s printed no reward: %.80r: %s", self._command[0], line, error)
            return
        if isinstance(said, _Line):
            self._listener.say(GivenReward(at_ns, said.reward, said.step, said.episode))
        else:
            self._listener.say(GivenReward(at_ns, said))
