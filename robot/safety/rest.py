"""Bringing a driver to rest, whatever comes in between.

Nothing stands before it: no log, no disk, no lock. It must not know why the robot is to rest.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from robot.safety.fault import explain

_NAMES = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGALRM", "SIGVTALRM", "SIGPROF"),
    *("SIGUSR2", "SIGXCPU", "SIGIO", "SIGPWR", "SIGSTKFLT"),
)
ENDING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Signals that would end this process, or stop it, and leave the robot as it is."""


class Resting(Protocol):
    """The part of a driver that brings it to rest."""

    def hold(self) -> None: ...

    def close(self) -> None: ...


def hold(driver: Resting) -> str:
    """Hold, undisturbed by signals. Returns why the driver could not; empty when it could."""
    return _undisturbed(driver.hold, "hold")


def close(driver: Resting) -> str:
    """Hold and release the hardware, undisturbed by signals. Returns as `hold`."""
    return _undisturbed(driver.close, "close")


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, signals break off none of this thread's calls into the system.

    Another thread may take them, and Python run their handlers here: these must not raise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDING, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _undisturbed(method: Callable[[], None], name: str) -> str:
    with signals_wait():
        try:
            method()
        except Exception as error:  # a driver must not raise here, and this is no place to do so
            return (
                f"the driver's {name}() failed, so the robot may still move: use its own button: "
                f"{explain(error)}"
            )
    return ""
