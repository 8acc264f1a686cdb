"""A bad network between a robot and a trainer: a proxy that delays, doubles, reorders and cuts.

Works on whole ZMQ messages, between a ROUTER for the robots and a DEALER for each of them. TCP
itself neither doubles nor reorders what it carries, so this is worse than what a wire does: here a
later message really overtakes an earlier one. It does not know what the messages say.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import zmq

_LOOK_MS = 20


@dataclass(frozen=True)
class Manners:
    """How it treats messages, in both directions.

    Args:
        delay_s: every message arrives this much later.
        double: probability that a message comes twice, the second up to `spread_s` later.
        reorder: probability that a message is held back by up to `spread_s`, so that others
            overtake it.
        cut_every_s, cut_s: ranges that are drawn from: after so long the line is gone for so long,
            by turns with its sockets closed, and as by a pulled cable, open and silent. What is
            under way is lost.
    """

    delay_s: float = 0.0
    double: float = 0.0
    reorder: float = 0.0
    spread_s: float = 0.05
    cut_every_s: tuple[float, float] | None = None
    cut_s: tuple[float, float] = (0.0, 0.0)


@dataclass
class Harm:
    """What it did so far, in messages and cuts."""

    carried: int = 0
    doubled: int = 0
    overtaken: int = 0
    lost: int = 0
    cuts: int = 0


@dataclass(order=True)
class _Parcel:
    due: float
    tie: int
    number: int = field(compare=False)
    up: bool = field(compare=False)
    robot: bytes = field(compare=False)
    frames: list[bytes] = field(compare=False)


class BadNetwork:
    """Listens at `address` on this machine, inside the block, for robots of the trainer there."""

    def __init__(self, trainer: str, manners: Manners, seed: int = 0) -> None:
        self.harm = Harm()
        self._trainer, self._manners = trainer, manners
        self._rng = random.Random(seed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._lines: dict[bytes, zmq.Socket[bytes]] = {}
        self._parcels: list[_Parcel] = []
        self._numbers, self._ties = itertools.count(), itertools.count()
        self._latest: dict[tuple[bytes, bool], int] = {}
        self._ending = threading.Event()
        self._front = self._listen("tcp://127.0.0.1:*")
        self.address = self._front.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._run, name="bad network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        cut_at = self._next_cut()
        while not self._ending.is_set():
            self._carry(lost=False)
            if time.monotonic() >= cut_at:
                self._cut()
                cut_at = self._next_cut()

    def _next_cut(self) -> float:
        every = self._manners.cut_every_s
        return float("inf") if every is None else time.monotonic() + self._rng.uniform(*every)

    def _carry(self, *, lost: bool) -> None:
        """Wait for a moment, take what has come, hand on what is due; or lose all of it."""
        first = self._parcels[0].due - time.monotonic() if self._parcels else 1.0
        ready = dict(self._poller.poll(int(min(_LOOK_MS, max(0.0, first * 1e3)))))
        if self._front in ready:
            for robot, *frames in _all(self._front):
                self._take(robot, True, frames, lost)
        for robot, line in list(self._lines.items()):
            if line in ready:
                for frames in _all(line):
                    self._take(robot, False, frames, lost)
        while self._parcels and self._parcels[0].due <= time.monotonic():
            self._hand_on(heapq.heappop(self._parcels))

    def _take(self, robot: bytes, up: bool, frames: list[bytes], lost: bool) -> None:
        if lost:
            self.harm.lost += 1
            return
        manners, rng, number = self._manners, self._rng, next(self._numbers)
        due = time.monotonic() + manners.delay_s
        if rng.random() < manners.reorder:
            due += rng.uniform(0.0, manners.spread_s)
        self._send(due, number, up, robot, frames)
        if rng.random() < manners.double:
            self.harm.doubled += 1
            self._send(due + rng.uniform(0.0, manners.spread_s), number, up, robot, frames)

    def _send(self, due: float, number: int, up: bool, robot: bytes, frames: list[bytes]) -> None:
        heapq.heappush(self._parcels, _Parcel(due, next(self._ties), number, up, robot, frames))

    def _hand_on(self, parcel: _Parcel) -> None:
        way = parcel.robot, parcel.up
        self.harm.carried += 1
        self.harm.overtaken += parcel.number < self._latest.get(way, -1)
        self._latest[way] = max(parcel.number, self._latest.get(way, -1))
        with contextlib.suppress(zmq.ZMQError):  # whoever should have it is gone, or does not read
            if parcel.up:
                self._line(parcel.robot).send_multipart(parcel.frames, zmq.NOBLOCK)
            else:
                self._front.send_multipart([parcel.robot, *parcel.frames], zmq.NOBLOCK)

    def _cut(self) -> None:
        self.harm.cuts += 1
        self.harm.lost += len(self._parcels)
        self._parcels.clear()
        until = time.monotonic() + self._rng.uniform(*self._manners.cut_s)
        if self.harm.cuts % 2 == 0:
            while time.monotonic() < until and not self._ending.is_set():
                self._carry(lost=True)
            return
        for socket in (self._front, *self._lines.values()):
            self._poller.unregister(socket)
            socket.close(linger=0)
        self._lines.clear()
        self._ending.wait(until - time.monotonic())
        if not self._ending.is_set():
            self._front = self._listen(self.address)

    def _listen(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.ROUTER)
        for _ in range(100):
            try:
                socket.bind(address)
                break
            except zmq.ZMQError:  # the one before is still closing
                time.sleep(0.01)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _line(self, robot: bytes) -> zmq.Socket[bytes]:
        """The connection to the trainer that stands for this robot's."""
        if robot not in self._lines:
            line = self._context.socket(zmq.DEALER)
            line.connect(self._trainer)
            self._poller.register(line, zmq.POLLIN)
            self._lines[robot] = line
        return self._lines[robot]


def _all(socket: zmq.Socket[bytes]) -> list[list[bytes]]:
    """Every message that waits there."""
    found = []
    with contextlib.suppress(zmq.Again):
        while True:
            found.append(socket.recv_multipart(zmq.NOBLOCK))
    return found
