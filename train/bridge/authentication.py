"""Who may speak to the hub: CURVE on its socket, with the list of allowed robots behind it.

Answers libzmq's questions about keys (ZAP, 0MQ RFC 27) and tells which robot sent a message. It
knows nothing of what is said. Who is turned away is not told so: a robot learns why from the
trainer's log, everybody else learns nothing.
"""

from __future__ import annotations

import logging

import zmq
from zmq.utils.monitor import recv_monitor_message

from fieldtune.robot.rationed_log import RationedLog
from fieldtune.train.bridge.keys import TrainerKeys

log = logging.getLogger(__name__)

HANDSHAKE_MS = 10_000
_AT_ONCE = 256
_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = b"fieldtune"
_REASONS = {  # ZMQ_PROTOCOL_ERROR_..., zmq.h
    0x11000001: "it was made for another trainer's key, or is no ZMQ: a robot's robot.keys.trainer "
    "must be this trainer's, {public}",
    0x11000002: "it does not use CURVE: a robot needs robot.keys.trainer, {public}",
}
_LEFT = (
    "it left without showing a key, as a robot does that has no robot.keys.trainer ({public}), and "
    "what is no ZMQ"
)
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


class CurveAuthenticator:
    """Guards one socket, in the thread that polls it."""

    def __init__(self, keys: TrainerKeys) -> None:
        self._keys = keys
        self._quiet = RationedLog(log)
        self._zap: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None

    def guard(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        """Close `socket` to strangers. Call it before the bind, once in the context's life."""
        self._zap = context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(_ZAP)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(self._keys.own.secret))
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self._monitor = socket.get_monitor_socket(_FAILURES)

    def register(self, poller: zmq.Poller) -> None:
        """Wake the poller when there is something to `serve`."""
        assert self._zap is not None
        assert self._monitor is not None
        poller.register(self._zap, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def serve(self) -> None:
        """Answer who waits at the door, and log who was turned away; some at a time, so that a
        crowd of strangers does not keep robots from being heard."""
        assert self._zap is not None
        assert self._monitor is not None
        for _ in range(_AT_ONCE):
            if not self._zap.poll(0):
                break
            self._zap.send_multipart(self._judge(self._zap.recv_multipart()))
        for _ in range(_AT_ONCE):
            if not self._monitor.poll(0):
                break
            event = recv_monitor_message(self._monitor)
            reason = _REASONS.get(event["value"], _LEFT)
            self._quiet.warn(
                str(event["value"]),
                f"turned away a connection: {reason.format(public=self._keys.own.public)}",
            )

    def robot_behind(self, frame: zmq.Frame) -> str | None:
        """The robot whose key the connection of a received frame has shown, if it still may."""
        try:
            public = str(frame.get("User-Id"))
        except zmq.ZMQError:  # no such property: the connection showed no key
            public = ""
        name = self._keys.allowed.name_of(public)
        if name is None:
            self._quiet.warn("revoked", f"dropped a message: key {public} is no longer allowed")
        return name

    def _judge(self, request: list[bytes]) -> list[bytes]:
        """The answer to one ZAP request: 200 with the key as user id, or 300.

        300 rather than 400, because libzmq says nothing to the peer then.
        """
        version, number, domain, address, _, mechanism, *credentials = request
        answer = [version, number, b"300", b"not allowed", b"", b""]
        if domain != _DOMAIN or mechanism != b"CURVE" or len(credentials) != 1:
            return answer
        public = credentials[0].hex()
        name = self._keys.allowed.name_of(public)
        if name is None:
            self._quiet.warn(
                "unknown",
                f"turned away {address.decode('ascii', 'replace')}: its key {public} is not "
                f"allowed; if it is one of your robots: `fieldtune keys allow ROBOT {public}`",
            )
            return answer
        return [version, number, b"200", b"OK", public.encode(), b""]
