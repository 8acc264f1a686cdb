"""The robot sessions that the hub has met: what each robot last said of itself, and when.

Written by the hub's thread, read by any. Knows no socket, no episode and no bundle.
"""

from __future__ import annotations

import threading
import time

import msgspec
from msgspec.structs import replace

from fieldtune.robot.bridge import wire

SessionKey = tuple[str | None, str]  # whose key, and what it calls itself: nobody speaks as another

PRESENT_S = 5.0  # who is silent for longer is not there: robots speak five times a second
_KEPT = 256


class RobotView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One life of one robot, as the hub knows it.

    `pending` is the number of episodes that wait on the robot, `silent_s` the time since its last
    message.
    """

    robot: str
    family: str
    boot_session: str
    state: str
    bundle_id: str
    pending: int
    silent_s: float


class Sessions:
    """Every robot session seen in this life of the hub, the newest 256 of each key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # around views and heard
        self._views: dict[SessionKey, RobotView] = {}
        self._heard_ns: dict[SessionKey, int] = {}
        self._last_sequence: dict[SessionKey, int] = {}

    def __contains__(self, session: SessionKey) -> bool:
        return session in self._views

    def views(self) -> list[RobotView]:
        """All of them as they are now, oldest first."""
        with self._lock:
            now_ns = time.monotonic_ns()
            return [
                replace(view, silent_s=(now_ns - self._heard_ns[session]) / 1e9)
                for session, view in self._views.items()
            ]

    def robot(self, session: SessionKey) -> str:
        """The name under which the session's robot has said hello."""
        return self._views[session].robot

    def is_repeat(self, session: SessionKey, sequence: int) -> bool:
        """Whether a message of this number, or a later one, has been counted before."""
        return sequence <= self._last_sequence.get(session, -1)

    def count(self, session: SessionKey, sequence: int) -> None:
        self._last_sequence[session] = sequence

    def meet(self, session: SessionKey, hello: wire.Hello, arrived_ns: int) -> None:
        """Remember a session; forget the oldest of its key where there are too many.

        Args:
            session: whose key, and what it calls itself. One that is known keeps its view.
            hello: what its robot says of itself.
            arrived_ns: when that came, by this machine's monotonic clock.
        """
        view = RobotView(hello.robot, hello.family, hello.boot_session, "", "", 0, 0.0)
        with self._lock:
            if session not in self._views:
                self._views[session], self._heard_ns[session] = view, arrived_ns
            same_key = [known for known in self._views if known[0] == session[0]]
            for oldest in same_key[:-_KEPT]:  # nobody pushes another robot's out
                del self._views[oldest], self._heard_ns[oldest]
                self._last_sequence.pop(oldest, None)

    def hear(self, session: SessionKey, beat: wire.Heartbeat, arrived_ns: int) -> None:
        """Take over what a session's robot says of itself.

        Args:
            session: one that `meet` knows.
            beat: the robot's state, its bundle and the episodes that wait on it.
            arrived_ns: when that came, by this machine's monotonic clock.

        Raises:
            KeyError: the session is not known, or was forgotten.
        """
        with self._lock:
            self._heard_ns[session] = arrived_ns
            self._views[session] = replace(
                self._views[session],
                state=beat.state,
                bundle_id=beat.bundle_id,
                pending=beat.pending,
            )
