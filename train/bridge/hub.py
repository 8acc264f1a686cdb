"""The trainer's end of the bridge: a thread that takes episodes in and hands bundles out.

Knows robots by their sessions; does not know what is learned from an episode, and must not import
torch: what comes off the network is handled here, away from the weights.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Set
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from fieldtune.errors import UserError
from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.wire import RefusalKind
from fieldtune.robot.episodes.episode import Episode
from fieldtune.robot.rationed_log import RationedLog
from fieldtune.train.bridge.authentication import CurveAuthenticator
from fieldtune.train.bridge.inbox import Inbox, Refused
from fieldtune.train.bridge.keys import TrainerKeys
from fieldtune.train.bridge.published_bundles import PublishedBundles
from fieldtune.train.bridge.sessions import RobotView, SessionKey, Sessions

log = logging.getLogger(__name__)

_POLL_MS = 50


class HubError(UserError):
    """The hub cannot do its work. The message says why."""


class Hub:
    """Serves robots at `address` and stores their episodes in `inbox`.

    With `keys` it listens only to the robots that they allow, each under its own name. Raises
    `wire.WireError` for an address beyond loopback without keys, `KeysError` when no robot is
    allowed.
    """

    def __init__(self, address: str, inbox: Path, keys: TrainerKeys | None = None) -> None:
        wire.check_address(address, keys=keys is not None)
        if keys is not None:
            keys.require_robots()
        self.address = address
        self.session = uuid.uuid4().hex
        self._inbox = Inbox(inbox)
        self._authenticator = None if keys is None else CurveAuthenticator(keys)
        self._quiet = RationedLog(log)
        self._sequence = itertools.count()
        self._sessions = Sessions()
        self._bundles = PublishedBundles()
        self._stop_requested = threading.Event()
        self._emergency = False
        self._closing = threading.Event()
        self._failure: str | None = None
        self._thread: threading.Thread | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def start(self) -> Self:
        """Bind and serve. Raises `HubError` when the address or the folder cannot be used."""
        self._context = zmq.Context()
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if self.address.startswith("tcp://["):
            socket.setsockopt(zmq.IPV6, 1)
        try:
            self._inbox.prepare()
            if self._authenticator is not None:
                self._authenticator.guard(self._context, socket)
            socket.bind(self.address)
        except (OSError, zmq.ZMQError) as error:
            self._context.destroy(linger=0)
            raise HubError(
                f"cannot serve {self.address} with inbox {self._inbox.path}: {error}: is another "
                "trainer running?"
            ) from error
        self.address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._socket = socket
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Safe to call twice."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._context is not None:
            self._context.destroy(linger=200)
            self._context = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def publish(self, bundle_path: Path) -> str:
        """Announce a bundle to all robots, which fetch it; return its id.

        Raises `BundleError` when it is not sound; the one before stays the newest then.
        """
        self._require_alive()
        path = Path(bundle_path)
        return self._bundles.put(path.read_bytes(), str(path))

    def episodes(self, after: Set[str]) -> Iterator[tuple[str, Episode]]:
        """Stored episodes that are not in `after`, as `(sha256, episode)`, in order of arrival."""
        self._require_alive()
        return self._inbox.episodes(after)

    def request_stop(self, emergency: bool = False) -> None:
        """Tell every robot, now and later, to end its episode and leave.

        In an emergency: to hold at once, and to stay in fault until a person has looked at it. It
        lasts as long as this hub; `fieldtune.train.bridge.emergency_stop` makes it outlast the
        process.
        """
        self._emergency |= emergency
        self._stop_requested.set()

    def robots(self) -> list[RobotView]:
        """Every robot session seen in this life of the hub, oldest first."""
        self._require_alive()
        return self._sessions.views()

    def _require_alive(self) -> None:
        if self._failure is not None:
            raise HubError(f"the hub has stopped: {self._failure}")

    # The thread

    def _run(self) -> None:
        assert self._socket is not None
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if self._authenticator is not None:
            self._authenticator.register(poller)
        try:
            while not self._closing.is_set():
                ready = dict(poller.poll(_POLL_MS))
                if self._authenticator is not None:
                    self._authenticator.serve()
                if self._socket in ready:
                    self._receive(self._socket)
        except Exception as error:  # the trainer must hear of it at its next call
            self._failure = repr(error)
            log.exception("the hub has stopped")

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        received = socket.recv_multipart(copy=False)
        arrived_ns = time.monotonic_ns()
        owner = None
        if self._authenticator is not None:
            owner = self._authenticator.robot_behind(received[-1])
            if owner is None:
                return
        identity, *frames = (frame.bytes for frame in received)
        try:
            if len(frames) != 1:
                raise wire.WireError(f"{len(frames)} frames, expected 1")
            message = wire.decode(frames[0])
        except wire.WireError as error:
            self._quiet.warn(error.kind, f"dropped a message: {error}")
            if error.session is not None:
                refusal = wire.Refusal(RefusalKind.MALFORMED, str(error)[:1000])
                self._send(socket, identity, refusal)
            return
        for answer in self._answers(message, arrived_ns, owner):
            self._send(socket, identity, answer)

    def _send(self, socket: zmq.Socket[bytes], identity: bytes, body: wire.Body) -> None:
        payload = wire.encode(self.session, next(self._sequence), body)
        with contextlib.suppress(zmq.ZMQError):  # it has gone, or does not read: it will ask again
            socket.send_multipart([identity, payload], zmq.NOBLOCK)

    def _answers(
        self, message: wire.Message, arrived_ns: int, owner: str | None
    ) -> Iterator[wire.Body]:
        """`owner` is the robot whose key the message came under; None where no keys are used."""
        body, session = message.body, (owner, message.session)
        if self._sessions.is_repeat(session, message.sequence):
            log.debug("message %d of session %s is a repeat", message.sequence, message.session)
            return
        if isinstance(body, wire.Hello):
            if owner not in (None, body.robot):
                reason = (
                    f"this key is of robot {owner!r}, not of {body.robot!r}: set robot.name, or "
                    "see `fieldtune keys list` on the trainer"
                )
                self._quiet.warn(owner or "", f"turned away a hello: {reason}")
                yield wire.Refusal(RefusalKind.HELLO, reason[:1000])
                return
            said = f"robot {body.robot} ({body.family}) has connected"
            self._quiet.warn(f"hello {session[0]} {body.robot}", said, logging.INFO)
            self._sessions.meet(session, body, arrived_ns)
        elif session not in self._sessions:
            yield wire.Refusal(RefusalKind.HELLO, "unknown session: say hello first")
            return
        self._sessions.count(session, message.sequence)
        match body:
            case wire.Hello():
                yield wire.Welcome()
            case wire.Heartbeat():
                yield self._beat(session, body, arrived_ns)
                if self._stop_requested.is_set():
                    yield wire.Stop(self._emergency)
            case wire.UploadOffer() | wire.RewardsOffer():
                yield self._take(body.sha256, body.size, None, session)
            case wire.UploadChunk():
                yield self._take(body.sha256, body.size, body, session)
            case wire.BundleRequest():
                yield self._bundles.chunk(body)
            case _:
                said = f"dropped a message: a robot does not send {type(body).__name__}"
                self._quiet.warn(said, said)

    def _beat(
        self, session: SessionKey, beat: wire.Heartbeat, arrived_ns: int
    ) -> wire.HeartbeatReply:
        self._sessions.hear(session, beat, arrived_ns)
        newest = self._bundles.newest()
        return wire.HeartbeatReply(beat.sent_ns, arrived_ns, time.monotonic_ns(), newest)

    def _take(
        self,
        sha256: str,
        size: int,
        chunk: wire.UploadChunk | None,
        session: SessionKey,
    ) -> wire.Body:
        """The answer to an offer, or to a chunk of it.

        Without keys the sender is who it says it is, which keeps honest robots apart.
        """
        owner = session[0]
        sender = self._sessions.robot(session) if owner is None else owner
        try:
            share = self._inbox.share(sender)
            if self._inbox.is_stored(sha256):
                share.drop(sha256)  # it came from another sender meanwhile
                return wire.UploadDone(sha256)
            share.require_welcome(sha256)
            if chunk is None:
                held = share.resume(sha256, size)
            else:
                held = share.append(sha256, size, chunk.offset, chunk.data)
            if held == size:
                return (
                    wire.UploadDone(sha256)
                    if self._inbox.finish(sender, sha256, owner)
                    else wire.UploadStatus(sha256, 0)
                )
            return wire.UploadStatus(sha256, held)
        except Refused as refused:
            said = f"episode or rewards {sha256} of robot {sender} refused: {refused}"
            self._quiet.warn(f"refused {sender}", said, logging.ERROR)
            return wire.Refusal(RefusalKind.REJECTED, str(refused)[:1000], sha256)
        except OSError as error:
            said = f"episode {sha256} cannot be stored now: {error}"
            self._quiet.warn("disk", said, logging.ERROR)
            return wire.Refusal(RefusalKind.LATER, f"the trainer's disk: {error}"[:1000], sha256)
