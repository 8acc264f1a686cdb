"""The robot's end of the bridge: a thread that carries episodes up and bundles down.

The loop asks it at episode boundaries and never waits for it. It does not know what a bundle is
used for, nor how episodes come into the journal.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import zmq
from typing_extensions import Self

from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.bundle_fetch import ANY_BUNDLE, BundleFetch, FetchRules
from fieldtune.robot.bridge.connection import (
    ClientSession,
    LinkLost,
    SharedState,
    TrainerConnection,
)
from fieldtune.robot.bundles.trial import Verdict
from fieldtune.robot.curve_keys import BridgeKeys
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.rationed_log import printable

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
_LINGER_MS = 200
_TRAINER_ENDED = "the trainer has asked to stop, and seems to have ended"


class BridgeClient:
    """Talks to the trainer at `address` for one robot; reconnects for ever.

    With `keys` the line is encrypted, and nobody but the holder of the trainer's secret key is
    listened to. `rules` are for what is fetched into `bundle_dir`.

    Raises `wire.WireError` for an address beyond loopback without keys, or a name too long to be
    sent.
    """

    def __init__(
        self,
        address: str,
        robot: str,
        family: str,
        boot_session: str,
        journal_path: Path,
        bundle_dir: Path,
        keys: BridgeKeys | None = None,
        rules: FetchRules = ANY_BUNDLE,
    ) -> None:
        wire.check_address(address, keys=keys is not None)
        wire.decode(wire.encode("here", 0, wire.Hello(robot, family, boot_session)))
        self.address = address
        self.journal_path = Path(journal_path)
        self._fetch = BundleFetch(bundle_dir, rules)
        self._keys = keys
        self._shared = SharedState(robot, family, boot_session)
        self._session = ClientSession(uuid.uuid4().hex, itertools.count())
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin to connect. The journal must exist, so start the recorder first."""
        self._thread = threading.Thread(target=self._run, name="bridge", daemon=True)
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def report(self, state: str, bundle_id: str) -> None:
        """What the trainer is told about the robot from now on."""
        self._shared.state, self._shared.bundle_id = state, bundle_id

    def newest_bundle(self) -> Path | None:
        """The newest bundle that the trainer has announced and that stood its trial on this robot.

        None until the first has come in this life of the daemon: an older file in `bundle_dir` is
        not taken for the newest.
        """
        return self._fetch.newest

    def verdicts(self) -> list[Verdict]:
        """What came of trials since this was last asked."""
        verdicts, found = self._fetch.verdicts, []
        while verdicts:
            found.append(verdicts.popleft())
        return found

    def stop_requested(self) -> bool:
        """Whether the trainer has asked the robot to end. It does not take that back."""
        return self._shared.stop is not None

    def emergency(self) -> str:
        """Who asked for an emergency stop; empty while nobody has. It is not taken back."""
        asked = self._shared.stop is not None and self._shared.stop.emergency
        return f"emergency stop by the trainer at {self.address}" if asked else ""

    def clock(self) -> tuple[int, int] | None:
        """`(offset_ns, uncertainty_ns)`, trainer's monotonic clock minus this robot's; None before
        the first echo. The last measurement stays while the link is down."""
        return self._shared.clock

    def connected(self) -> bool:
        """Whether the trainer is answering."""
        return self._shared.connected

    def close(self, flush_timeout_s: float = 0.0) -> bool:
        """Stop, after at most `flush_timeout_s` more for what is pending.

        Returns whether every finished episode has its receipt. Close the recorder first, or its
        last episode is not pending yet.
        """
        if self._thread is not None:
            self._deadline = time.monotonic() + flush_timeout_s
            self._closing.set()
            self._thread.join()
            self._thread = None
        try:
            with Journal.attach(self.journal_path) as journal:
                return not journal.pending(1)
        except (JournalError, sqlite3.Error) as error:
            log.error("what is pending cannot be told: %s", error)
            return False

    def _ended(self, idle: bool) -> bool:
        return self._closing.is_set() and (idle or time.monotonic() >= self._deadline)

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        delay_s, last_reason = FIRST_DELAY_S, ""
        while not self._ended(False):
            try:
                with Journal.attach(self.journal_path) as journal, self._socket(context) as socket:
                    connection = TrainerConnection(
                        socket, self._session, self._shared, journal, self._fetch
                    )
                    connection.run(self._ended)
                    break
            except LinkLost as error:
                reason = _TRAINER_ENDED if self._shared.dismissed else str(error)
            except (JournalError, sqlite3.Error, OSError, zmq.ZMQError) as error:
                reason = str(error)
            except Exception as error:  # the robot goes on without the network, whatever it is
                log.exception("the bridge failed")
                reason = repr(error)
            if self._shared.connected:
                delay_s = FIRST_DELAY_S
            self._shared.connected = False
            if reason != last_reason:
                expected = reason == _TRAINER_ENDED
                level = logging.INFO if expected else logging.WARNING
                log.log(level, "%s: %s; trying again", self.address, printable(reason))
            last_reason = reason
            self._pause(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)
        self._shared.connected = False
        self._fetch.close()
        context.destroy(linger=_LINGER_MS)

    def _pause(self, seconds: float) -> None:
        """Wait; less when closing, and no longer than there is time to flush."""
        if self._closing.wait(seconds):
            time.sleep(max(0.0, min(FIRST_DELAY_S, self._deadline - time.monotonic())))

    @contextlib.contextmanager
    def _socket(self, context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[zmq.Socket[bytes]]:
        socket = context.socket(zmq.DEALER)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IMMEDIATE, 1)  # queue for a live connection only
            socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_MESSAGE_BYTES)
            socket.setsockopt(zmq.SNDHWM, 64)
            socket.setsockopt(zmq.RCVHWM, 64)
            if self.address.startswith("tcp://["):
                socket.setsockopt(zmq.IPV6, 1)
            if self._keys is not None:
                self._keys.secure(socket)
            socket.connect(self.address)
            yield socket
            socket.setsockopt(zmq.LINGER, _LINGER_MS)
        finally:
            socket.close()
