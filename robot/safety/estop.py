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

from fieldtune.robot.safety.lent import Lent
from fieldtune.robot.timing.clock import SECOND_NS
from fieldtune.robot.timing.realtime import prioritise

log = logging.getLogger(__name__)

LOOK_S = 0.02
_STOOD_STILL_NS = SECOND_NS // 2  # for homing, where no beat tells
_FAREWELL_S = 1.0
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)
SIGNAL = signal.SIGUSR1

Asker = Callable[[], str]


class EmergencyStop(BaseException):
    """Somebody has asked for it, or the loop stands still. The message says who and why.

    No `Exception`: a driver that tries again on every error must not swallow it.
    """


class WaitAbandoned(BaseException):
    """A call that waits was left, because the run is to end. No fault."""


class EStop:
    """Tripped once, for the life of this process; the latch on disk lasts longer.

    `askers` are asked every 20 ms and say why to stop, or nothing. `on_trip` is told the reason
    once, from the watching thread: also while the loop cannot hear, in a driver that blocks.
    `lent` surrounds inference: inside, the loop is in no driver call.

    Signal handlers raise out of two things only, and never where the robot is brought to rest: a
    call that waits (`interrupting`), and a driver in which the loop stands still.
    """

    def __init__(self, *askers: Asker, on_trip: Callable[[str], None] = lambda _: None) -> None:
        self.reason = ""
        self.lent = Lent()
        self._askers = [*askers]
        self._on_trip = on_trip
        self._loop: tuple[int, int] | None = None  # when it last began a cycle, and its patience
        self._suspended_ns = _suspended_ns()
        self._looked_ns = time.monotonic_ns()
        self._gap_ns = 0, 0  # when the watcher last found that it had stood still, and for how long
        self._interruptible = False
        self._loop_in_main = False
        self._signal_installed = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def trip(self, reason: str) -> None:
        """Stop. The first reason is kept. From any thread, or a signal handler."""
        self.reason = self.reason or reason
        if self._signal_installed and (self._interruptible or self._stuck()):
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
        """Trip on SIGUSR1, and on SIGCONT where the process stood still. From the main thread."""
        signal.signal(SIGNAL, self._on_signal)
        signal.signal(signal.SIGCONT, self._on_continue)
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

    def leave(self, why: str) -> None:
        """The run is to end: raise `WaitAbandoned` out of a call that waits.

        For a signal handler.
        """
        if self._interruptible:
            self._interruptible = False
            raise WaitAbandoned(why)

    def beat(self, now_ns: int, patience_ns: int) -> None:
        """The loop begins a cycle, and should begin the next one within `patience_ns`.

        Trips where it did not, itself: by the time anybody looks, this beat would be the last one.
        """
        before, self._loop = self._loop, (now_ns, patience_ns)
        suspended_ns, self._suspended_ns = self._suspended_ns, _suspended_ns()
        if before is None:
            return
        stood_ns = now_ns - before[0]
        if stood_ns > before[1] and not self.reason:
            self.reason = stood_still(stood_ns)
        suspended_ns = self._suspended_ns - suspended_ns
        if suspended_ns > patience_ns and not self.reason:
            self.reason = f"the machine was suspended for {suspended_ns / SECOND_NS:.3f} s"

    def rest(self) -> None:
        """The loop has ended: nothing is expected of it."""
        self._loop = None

    def stall(self) -> str:
        """Why the loop counts as standing still; empty while it does not."""
        loop = self._loop
        if loop is None:
            return ""
        late_ns = time.monotonic_ns() - loop[0]
        if late_ns <= loop[1]:
            return ""
        if self.lent.occupied:
            return (
                f"inference has not returned for {late_ns / SECOND_NS:.3f} s: the bundle is "
                "broken, or this machine is overloaded"
            )
        return stood_still(late_ns)

    def start(self, priority: int | None = None) -> None:
        """Begin to watch, with this priority where it is permitted: a busy machine must not delay
        it. The caller's thread is the loop's."""
        if self._thread is None:
            self._loop_in_main = threading.current_thread() is threading.main_thread()
            self._closing.clear()
            self._looked_ns = time.monotonic_ns()
            self._thread = threading.Thread(
                target=self._watch, args=(priority,), name="estop", daemon=True
            )
            self._thread.start()

    @property
    def watching(self) -> bool:
        """Whether a robot may be in motion: between `start` and `close`."""
        return self._thread is not None

    def close(self) -> None:
        """Stop watching. Safe to call twice. A disk that hangs is not waited for.

        The robot is released: a stop by signal finds nothing to stop any more, and must not end a
        process that Python, as it ends, leaves without its handlers.
        """
        if self._signal_installed and threading.current_thread() is threading.main_thread():
            signal.signal(SIGNAL, signal.SIG_IGN)
            self._signal_installed = False
        if self._thread is not None:
            self._closing.set()
            self._thread.join(_FAREWELL_S)
            self._thread = None

    def _stuck(self) -> bool:
        """Whether the loop stands still in a driver that a signal may get it out of."""
        return self._loop_in_main and not self.lent.occupied and bool(self.stall())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.reason = self.reason or f"emergency stop by signal {signal.Signals(number).name}"
        self._raise()

    def _on_continue(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Homing has no beats, but who looks every 20 ms has stood still too."""
        now_ns = time.monotonic_ns()
        found_ns, gap_ns = self._gap_ns
        if now_ns - found_ns > SECOND_NS:
            gap_ns = 0
        stood_ns = max(now_ns - self._looked_ns, gap_ns)
        if self._interruptible and self.watching and stood_ns > _STOOD_STILL_NS:
            self.reason = self.reason or stood_still(stood_ns)
            self._raise()

    def _raise(self) -> None:
        """Raise where that is allowed, and once: what comes after it must reach the driver."""
        if self._interruptible or self._stuck():
            self._interruptible, self._loop = False, None
            raise EmergencyStop(self.reason)

    def _watch(self, priority: int | None) -> None:
        prioritise(priority, contextlib.ExitStack())  # the thread's end takes it back
        while not self._closing.wait(LOOK_S):
            if not self.reason:
                self.look()
            if self.reason:
                self._tell()
                return
            before_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
            if self._looked_ns - before_ns > _STOOD_STILL_NS:
                self._gap_ns = self._looked_ns, self._looked_ns - before_ns

    def look(self) -> None:
        """Ask the askers now, and trip where one says so."""
        try:
            reason = self.stall() or next(filter(None, (ask() for ask in self._askers)), "")
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


def stood_still(stood_ns: int) -> str:
    return (
        f"the loop has stood still for {stood_ns / SECOND_NS:.3f} s: a driver that can block "
        "belongs behind a server with its own expiry; or this machine is overloaded, or the "
        "process was stopped (SIGSTOP, a debugger)"
    )


def _suspended_ns() -> int:
    """How long this machine has been suspended since it started: that clock stands still then."""
    return 0 if _BOOTTIME is None else time.clock_gettime_ns(_BOOTTIME) - time.monotonic_ns()
