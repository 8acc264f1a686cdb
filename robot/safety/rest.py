"""Bringing a driver to rest, whatever comes in between.

Nothing stands before it: no log, no disk, no lock. It must not know why the robot is to rest.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from fieldtune.robot.safety.fault import explain

_NAMES = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGALRM", "SIGVTALRM", "SIGPROF"),
    *("SIGUSR2", "SIGXCPU", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGTRAP", "SIGSYS"),
)
_NAMED = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_REAL_TIME = (
    tuple(range(signal.SIGRTMIN, signal.SIGRTMAX + 1)) if hasattr(signal, "SIGRTMIN") else ()
)
ENDING: tuple[int, ...] = (*_NAMED, *_REAL_TIME)
"""Signals that would end this process, or stop it, and leave the robot as it is.

Those of a crash are left out (SIGSEGV, SIGBUS, SIGFPE, SIGILL): a handler would return to what
crashed, for ever. So is SIGABRT, by which a watchdog ends a process that no longer listens.
"""
_OURS = (signal.SIGUSR1, signal.SIGCONT, signal.SIGTTIN, signal.SIGTTOU)


class Resting(Protocol):
    """The part of a driver that brings it to rest."""

    def hold(self) -> None: ...

    def close(self) -> None: ...


def signal_name(number: int) -> str:
    """`SIGTERM`; `SIGRTMIN+6` for what has no name of its own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number in _REAL_TIME else str(number)


def hold(driver: Resting) -> str:
    """Hold, undisturbed by signals. Returns why the driver could not; empty when it could."""
    return _undisturbed(driver.hold, "hold")


def close(driver: Resting) -> str:
    """Hold and release the hardware, undisturbed by signals. Returns as `hold`."""
    return _undisturbed(driver.close, "close")


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, signals break off none of this thread's calls into the system.

    Another thread may take them, and Python run their handlers here: these must not raise. A
    real-time signal that is not ours may be what the driver waits for.
    """
    ours = (number for number in _REAL_TIME if callable(signal.getsignal(number)))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_NAMED, *ours, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def kept_signals() -> Iterator[list[str]]:
    """Give back, afterwards, the handlers of signals that something inside took for itself.

    Yields their names, filled in at the end. Only the main thread can; elsewhere nothing is done.
    Real-time signals are a driver's to take: nobody stops a robot by them.
    """
    taken: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield taken
        return
    before = {number: signal.getsignal(number) for number in (*_NAMED, *_OURS)}
    try:
        yield taken
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                taken.append(signal.Signals(number).name)


def _undisturbed(method: Callable[[], None], name: str) -> str:
    with signals_wait():
        try:
            method()
        except BaseException as error:  # a driver must not raise here, nor end the process
            return (
                f"the driver's {name}() failed, so the robot may still move: use its own button: "
                f"{explain(error)}"
            )
    return ""
