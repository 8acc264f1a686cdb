"""One connection to the trainer, from the robot's hello until the line goes silent.

Runs on the bridge's thread and owns what lasts as long as a connection: the trainer's session, the
uploads under way, the echoes. The next connection starts from the journal again; a bundle on its
way goes on.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.bundle_fetch import BundleFetch
from fieldtune.robot.bridge.clock_offset import ClockOffset, Echo
from fieldtune.robot.bridge.uploads import Uploads
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.rationed_log import RationedLog

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.2
SILENCE_S = 5.0
_POLL_MS = 20


class LinkLost(Exception):
    """This connection is of no more use; a new one may be. The message says why."""


@dataclass
class SharedState:
    """What the loop and the bridge tell each other. Each field has one writer, and is written
    whole, so that neither ever waits for the other."""

    robot: str
    family: str
    boot_session: str
    state: str = ""  # by the loop
    bundle_id: str = ""  # by the loop
    stop: wire.Stop | None = None
    clock: tuple[int, int] | None = None
    connected: bool = False

    @property
    def dismissed(self) -> bool:
        """Whether the trainer has all that it wanted, so that it may end: no emergency."""
        return self.stop is not None and not self.stop.emergency


@dataclass(frozen=True)
class ClientSession:
    """One life of the robot's bridge, over all its connections: the id that its messages carry, the
    number of the next one, and `quiet`, which logs what a trainer can cause."""

    id: str
    sequence: itertools.count[int]
    quiet: RationedLog = field(default_factory=lambda: RationedLog(log))


class TrainerConnection:
    """Uploads what is pending and fetches what is new until `run` returns or raises."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        session: ClientSession,
        shared: SharedState,
        journal: Journal,
        fetch: BundleFetch,
    ) -> None:
        self._socket = socket
        self._session = session
        self._shared = shared
        self._journal = journal
        self._fetch = fetch
        self._clock = ClockOffset()
        self._said_hello = False
        self._trainer: str | None = None
        self._last_sequence = -1
        self._uploads = Uploads(journal, session.quiet)
        self._heard_at = time.monotonic()
        self._beat_at = 0.0
        fetch.reconnected()

    def run(self, ended: Callable[[bool], bool]) -> None:
        """Talk until `ended(idle)` says so; `idle` is true while nothing is left to upload.

        Raises `LinkLost`, and what journal and socket raise.
        """
        while not ended(self._uploads.is_idle()):
            self._speak()
            if self._socket.poll(_POLL_MS):
                self._listen()
            self._fetch.look()
            if time.monotonic() - self._heard_at > SILENCE_S:
                raise LinkLost(self._why_silent())
        if self._trainer is not None:
            self._send(self._heartbeat())

    def _why_silent(self) -> str:
        if self._said_hello:
            return f"nothing heard from the trainer for {SILENCE_S:g} s"
        # A trainer does not answer keys that it does not know: from here it all looks alike.
        return (
            f"no connection within {SILENCE_S:g} s: the trainer is not there, or the keys at both "
            "ends do not match; then its log says why (docs/security.md)"
        )

    def _speak(self) -> None:
        now = time.monotonic()
        if self._trainer is None:
            self._introduce()
            return
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._send(self._heartbeat())
        for body in self._uploads.speak(now):
            self._send(body)
        for request in self._fetch.requests():
            self._send(request)

    def _introduce(self) -> None:
        if not self._said_hello and self._socket.poll(0, zmq.POLLOUT):
            shared = self._shared
            self._send(wire.Hello(shared.robot, shared.family, shared.boot_session))
            self._said_hello = True

    def _heartbeat(self) -> wire.Heartbeat:
        pending = len(self._journal.pending())
        shared = self._shared
        return wire.Heartbeat(time.monotonic_ns(), shared.state, shared.bundle_id, pending)

    def _send(self, body: wire.Body) -> None:
        payload = wire.encode(self._session.id, next(self._session.sequence), body)
        try:
            self._socket.send(payload, zmq.NOBLOCK)
        except zmq.Again as error:
            raise LinkLost("the connection takes no more messages") from error

    def _listen(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(frames) != 1:
                    raise wire.WireError(f"{len(frames)} frames, expected 1")
                message = wire.decode(frames[0])
            except wire.WireError as error:
                said = f"dropped a message from the trainer: {error}"
                self._session.quiet.warn(error.kind, said)
                continue
            self._hear(message)

    def _hear(self, message: wire.Message) -> None:
        body = message.body
        if self._trainer is None and isinstance(body, wire.Welcome):
            self._trainer = message.session
            self._shared.connected = True
            log.info("connected to the trainer")
        elif self._trainer is None and isinstance(body, wire.Refusal):
            raise LinkLost(f"the trainer refused: {body.reason}")
        elif self._trainer is None:
            return
        elif message.session != self._trainer:
            raise LinkLost("the trainer has restarted")
        elif message.sequence <= self._last_sequence:
            return
        self._last_sequence = message.sequence
        self._heard_at = time.monotonic()
        self._act(body)

    def _act(self, body: wire.Body) -> None:
        match body:
            case wire.HeartbeatReply():
                self._take_echo(body)
            case wire.UploadStatus():
                self._uploads.take_status(body, time.monotonic())
            case wire.UploadDone():
                self._uploads.take_done(body)
            case wire.BundleChunk():
                self._fetch.take(body)
            case wire.Stop():
                self._shared.stop = body if body.emergency else self._shared.stop or body
            case wire.Refusal():
                self._take_refusal(body)
            case _:
                log.debug("nothing to do about %s", type(body).__name__)

    def _take_echo(self, reply: wire.HeartbeatReply) -> None:
        self._clock.add(
            Echo(reply.sent_ns, reply.received_ns, reply.replied_ns, time.monotonic_ns())
        )
        self._shared.clock = self._clock.estimate()
        if reply.newest_bundle is not None:
            self._fetch.want(reply.newest_bundle)

    def _take_refusal(self, refusal: wire.Refusal) -> None:
        malformed = refusal.kind is wire.RefusalKind.MALFORMED
        if malformed and self._uploads.take_misunderstood():
            return
        if refusal.kind in (wire.RefusalKind.HELLO, wire.RefusalKind.MALFORMED):
            raise LinkLost(f"the trainer refused: {refusal.reason}")
        if self._uploads.take_refusal(refusal, time.monotonic()):
            return
        self._fetch.declined(refusal.sha256, refusal.reason)
