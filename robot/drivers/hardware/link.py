"""One connection to a hardware server: asks, and waits for that answer and no longer.

Owns the socket, the session and the sequence. It must not know what is asked for, nor when.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import zmq

from fieldtune.robot.bridge.wire import WireError, check_address
from fieldtune.robot.curve_keys import BridgeKeys
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.clock import SenseClock
from fieldtune.robot.drivers.hardware.description import HardwareDescription
from fieldtune.robot.drivers.hardware.frames import (
    MAX_FRAME_BYTES,
    Ask,
    Code,
    FrameError,
    Reply,
    Say,
    read_description,
    read_refusal,
    read_reply,
    write_request,
)
from fieldtune.robot.timing.clock import SECOND_NS

log = logging.getLogger(__name__)

_QUEUED = 16
_TOLD_EVERY_NS = 10 * SECOND_NS
_Said = TypeVar("_Said")


class NoAnswer(DriverFault):
    """Nothing came back in time; whether the request was heard is not known."""


class Refusal(DriverFault):
    """The server has heard the request, and has not carried it out. `code` says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """A reply that was waited for, the sequence it answers, and when it was here (our clock)."""

    reply: Reply
    sequence: int
    returned_ns: int


class HardwareLink:
    """Talks to one server from `open` to `close`; safe to use from several threads."""

    def __init__(self, address: str, keys: BridgeKeys | None) -> None:
        """Raises `DriverFault` for an address beyond this machine without keys."""
        try:
            check_address(address, keys=keys is not None)
        except WireError:
            raise DriverFault(
                f"robot.driver.address is {address!r}: expected tcp://127.0.0.1:PORT or "
                "ipc://PATH; with keys (robot.driver.server_key, robot.driver.secret) tcp://HOST:PORT"
            ) from None
        self.address = address
        self.clock = SenseClock()
        self._keys = keys
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._session = 0
        self._sequence = 0
        self._told_ns = -_TOLD_EVERY_NS

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self, timeout_s: float) -> HardwareDescription:
        """Connect and say hello; what the server offers.

        Raises `DriverFault`, and is closed then, where nobody answers or another session moves the
        robot.
        """
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.IMMEDIATE, 1),  # nothing waits in a queue for a server that comes back
            (zmq.SNDHWM, _QUEUED),
            (zmq.RCVHWM, _QUEUED),
            (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
        ):
            self._socket.setsockopt(option, value)
        try:
            if self._keys is not None:
                self._keys.secure(self._socket)
            self._socket.connect(self.address)
            if not self._socket.poll(round(timeout_s * 1000), zmq.POLLOUT):
                raise DriverFault(
                    f"{self.address}: no hardware server answers within {timeout_s:g} s: start it, "
                    "and look at its log for keys that are not allowed"
                )
            self.clock = SenseClock()
            self._session, self._sequence = secrets.randbits(64), 0
            answer = self.ask(Ask.HELLO, Say.DESCRIPTION, timeout_s=timeout_s)
            self._session, description = read_description(answer.reply.body)
            return description
        except FrameError as error:
            self.close()
            raise DriverFault(f"{self.address}: {error}") from error
        except (DriverFault, zmq.ZMQError) as error:
            self.close()
            raise DriverFault(str(error)) from error

    def close(self) -> None:
        """Safe to call twice."""
        with self._lock:
            if self._socket is not None and self._context is not None:
                self._socket.close()
                self._context.term()
            self._socket = self._context = None

    def ask(
        self,
        ask: Ask,
        expected: Say,
        *,
        timeout_s: float,
        answers: int = 0,
        lease_ns: int = 0,
        body: bytes = b"",
    ) -> Answer:
        """The server's answer.

        Args:
            answers: the sequence of the SENSE whose observation this follows from.
            lease_ns: for how long after that observation left the server this may act.

        Raises `Refusal`, `NoAnswer` when it is not there in time, and `DriverFault`.
        """
        with self._lock:
            if self._socket is None:
                raise DriverFault("the hardware server is not connected: call connect() first")
            self._sequence += 1
            frame = write_request(ask, self._session, self._sequence, answers, lease_ns, body)
            sent_ns = time.monotonic_ns()
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.ZMQError as error:
                raise NoAnswer(f"{self.address}: the link is down ({error})") from error
            reply = self._await(sent_ns + round(timeout_s * SECOND_NS), ask, timeout_s)
            returned_ns = time.monotonic_ns()
            self.clock.add(sent_ns, reply.received_ns, reply.replied_ns, returned_ns)
            if reply.say is not expected:
                raise DriverFault(f"{self.address} answers {ask.name} with {reply.say.name}")
            return Answer(reply, self._sequence, returned_ns)

    def _await(self, deadline_ns: int, ask: Ask, timeout_s: float) -> Reply:
        """The reply to the latest request. Older ones, and what is none, are passed over."""
        assert self._socket is not None
        while True:
            left_ms = -(-(deadline_ns - time.monotonic_ns()) // 1_000_000)
            if left_ms <= 0 or not self._socket.poll(left_ms):
                raise NoAnswer(
                    f"{self.address}: no answer to {ask.name} within {timeout_s:g} s: look at the "
                    "hardware server and the network"
                )
            parts = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                reply = read_reply(parts[0] if len(parts) == 1 else b"")
                if (reply.session, reply.sequence) != (self._session, self._sequence):
                    continue
                if reply.say is not Say.REFUSED:
                    return reply
                code, reason = read_refusal(reply.body)
            except FrameError as error:
                self._tell(str(error))
                continue
            if code != Code.SEQUENCE:  # else the network has sent our request twice
                raise Refusal(f"{self.address} refuses {ask.name}: {reason}", code)

    def _tell(self, what: str) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._told_ns >= _TOLD_EVERY_NS:
            self._told_ns = now_ns
            log.warning("%s: %s", self.address, what)


def patiently(
    ask: Callable[[float], _Said], wait_s: float, patience_s: float
) -> tuple[_Said, bool]:
    """Ask until it is answered, ever more slowly; what is said, and whether an answer was missed.

    Args:
        ask: what may be asked twice; given for how long to wait.
        wait_s: for the first answer.

    Raises `NoAnswer` when `patience_s` are over.
    """
    missed, began = False, time.monotonic()
    while True:
        asked = time.monotonic()
        wait_s = max(0.0, min(wait_s, began + patience_s - asked))
        try:
            return ask(wait_s), missed
        except NoAnswer as error:
            now = time.monotonic()
            if now >= began + patience_s:
                raise NoAnswer(f"{error}; nothing came for {patience_s:g} s") from error
            time.sleep(max(0.0, asked + wait_s - now))  # where the link itself is down
        missed, wait_s = True, 2 * wait_s
