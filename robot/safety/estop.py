"""The emergency stop: whoever asks for it, the loop hears of it within a control period.

Watches on a thread of its own, so that neither disk nor network is ever waited for by the loop. It
must not know how a robot is stopped, nor who the askers are.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from robot.clock import SECOND_NS
from robot.realtime import prioritise

log = logging.getLogger(__name__)

LOOK_S = 0.02
SIGNAL = signal.SIGUSR1

Asker = Callable[[], str]


class EmergencyStop(Exception):
    """Somebody has asked for it, or the loop stands still. The message says who and why."""


class EStop:
    """Tripped once, for the life of this process; the latch on disk lasts longer.

    `askers` are asked every 20 ms and say why to stop, or nothing. `on_trip` is told the reason
    once, from the watching thread: also while the loop cannot hear, in a driver that blocks.
    """

    def __init__(self, *askers: Asker, on_trip: Callable[[str], None] = lambda _: None) -> None:
        self.reason = ""
        self._askers = [*askers]
        self._on_trip = on_trip
        self._loop: tuple[int, int] | None = None  # when it last began a cycle, and its patience
        self._interruptible = False
        self._signal_installed = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def trip(self, reason: str) -> None:
        """Stop. The first reason is kept. From any thread, or a signal handler."""
        self.reason = self.reason or reason
        if self._interruptible and self._signal_installed:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, SIGNAL)

    def check(self) -> None:
        """Raise `EmergencyStop` once it was tripped."""
        if self.reason:
            raise EmergencyStop(self.reason)

    def ask(self, asker: Asker) -> None:
        """Also ask `asker` from now on."""
        self._askers.append(asker)

    def listen_to_signal(self) -> None:
        """Trip on SIGUSR1. From the main thread."""
        signal.signal(SIGNAL, self._on_signal)
        self._signal_installed = True

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Inside, a trip raises `EmergencyStop` even out of a call that waits, such as homing.

        That needs the main thread and `listen_to_signal`; elsewhere it is raised before and after.
        """
        self._interruptible = threading.current_thread() is threading.main_thread()
        try:
            self.check()
            yield
        finally:
            self._interruptible = False
        self.check()

    def beat(self, now_ns: int, patience_ns: int) -> None:
        """The loop begins a cycle, and should begin the next one within `patience_ns`."""
        self._loop = (now_ns, patience_ns)

    def rest(self) -> None:
        """The loop has ended: nothing is expected of it."""
        self._loop = None

    def start(self, priority: int | None = None) -> None:
        """Begin to watch, with this priority where it is permitted: a busy machine must not delay
        it."""
        if self._thread is None:
            self._closing.clear()
            self._thread = threading.Thread(
                target=self._watch, args=(priority,), name="estop", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Stop watching. Safe to call twice."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.reason = self.reason or f"emergency stop by signal {signal.Signals(number).name}"
        if self._interruptible:
            self._interruptible = False  # once is enough
            raise EmergencyStop(self.reason)

    def _watch(self, priority: int | None) -> None:
        prioritise(priority, contextlib.ExitStack())  # the thread's end takes it back
        while not self._closing.wait(LOOK_S):
            if not self.reason:
                self._look()
            if self.reason:
                self._tell()
                return

    def _look(self) -> None:
        try:
            reason = next(filter(None, (ask() for ask in self._askers)), "") or self._stall()
        except Exception as error:  # who cannot be asked cannot be heard
            log.exception("the emergency stop cannot be watched")
            reason = f"the emergency stop cannot be watched: {error!r}"
        if reason:
            self.trip(reason)

    def _tell(self) -> None:
        try:
            self._on_trip(self.reason)
        except OSError:
            log.exception("the emergency stop cannot be latched yet; the loop tries again")

    def _stall(self) -> str:
        loop = self._loop
        if loop is None:
            return ""
        late_ns = time.monotonic_ns() - loop[0]
        if late_ns <= loop[1]:
            return ""
        return (
            f"the loop has stood still for {late_ns / SECOND_NS:.3f} s: a driver that can block "
            "belongs behind a server with its own expiry; or this machine is overloaded"
        )
