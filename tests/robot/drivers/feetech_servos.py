"""Feetech servos on a serial line that is a pseudo-terminal: they answer their own protocol.

For robots whose code speaks to a real port. A servo is where it was last sent, at once, while its
torque is on. Registers and instructions are those of Feetech's memory table of the STS3215.
"""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Iterator, Sequence
from types import TracebackType

STEPS = 4096  # a turn
MODEL, ID, LOWEST, HIGHEST, TORQUE, GOAL, PRESENT = 3, 5, 9, 11, 40, 42, 56
STS3215 = 777
PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83
EVERYBODY = 0xFE


class Servos:
    """Servos 1, 2, … behind `port`, each allowed from `lowest` to `highest` steps."""

    def __init__(self, count: int, *, lowest: int, highest: int) -> None:
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self._theirs, self.port = theirs, os.ttyname(theirs)
        self.torque: list[tuple[int, bool]] = []  # each time it was switched
        self._memory = {number: bytearray(128) for number in range(1, count + 1)}
        for number, memory in self._memory.items():
            memory[0:2], memory[ID] = bytes([3, 10]), number
            for place, value in (
                (MODEL, STS3215),
                (LOWEST, lowest),
                (HIGHEST, highest),
                (PRESENT, STEPS // 2),
            ):
                memory[place : place + 2] = value.to_bytes(2, "little")
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> Servos:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._theirs)
        self._thread.join(10)
        assert not self._thread.is_alive(), "somebody still has the port open"
        os.close(self._ours)

    @property
    def positions(self) -> list[int]:
        return [self._word(memory, PRESENT) for memory in self._memory.values()]

    def _answer(self) -> None:
        for packet in self._packets():
            answer = b"".join(self._answers(packet[0], packet[1], packet[2:]))
            if answer:
                os.write(self._ours, answer)

    def _packets(self) -> Iterator[bytes]:
        """Whole ones: id, instruction and parameters. A pseudo-terminal that nobody has open any
        more fails to be read."""
        waiting = b""
        while True:
            try:
                waiting += os.read(self._ours, 4096)
            except OSError:
                return
            while len(waiting) >= 4 and len(waiting) >= 4 + waiting[3]:
                assert waiting[:2] == b"\xff\xff", waiting
                end = 4 + waiting[3]
                assert waiting[end - 1] == _checksum(waiting[2 : end - 1])
                yield waiting[2:3] + waiting[4 : end - 1]
                waiting = waiting[end:]

    def _answers(self, number: int, instruction: int, given: bytes) -> Iterator[bytes]:
        if instruction == SYNC_READ:
            for one in given[2:]:
                yield self._status(one, self._memory[one][given[0] : given[0] + given[1]])
        elif instruction == SYNC_WRITE:
            size = given[1]
            for first in range(2, len(given), 1 + size):
                self._write(given[first], given[0], given[first + 1 : first + 1 + size])
        elif number in self._memory:
            read = b""
            if instruction == READ:
                read = self._memory[number][given[0] : given[0] + given[1]]
            elif instruction == WRITE:
                self._write(number, given[0], given[1:])
            yield self._status(number, read)
        elif number == EVERYBODY and instruction == PING:
            for one in self._memory:
                yield self._status(one, b"")

    def _write(self, number: int, place: int, values: Sequence[int]) -> None:
        memory = self._memory[number]
        memory[place : place + len(values)] = bytes(values)
        if place == TORQUE:
            self.torque.append((number, bool(values[0])))
        if place == GOAL and memory[TORQUE]:
            low, high = self._word(memory, LOWEST), self._word(memory, HIGHEST)
            goal = min(max(self._word(memory, GOAL), low), high)
            memory[PRESENT : PRESENT + 2] = goal.to_bytes(2, "little")

    @staticmethod
    def _word(memory: bytearray, place: int) -> int:
        return int.from_bytes(memory[place : place + 2], "little")

    @staticmethod
    def _status(number: int, values: bytes | bytearray) -> bytes:
        body = bytes([number, len(values) + 2, 0, *values])
        return b"\xff\xff" + body + bytes([_checksum(body)])


def _checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF
