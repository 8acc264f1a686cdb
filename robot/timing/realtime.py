"""What the operating system can do for a loop on time: priority, locked memory, no collections.

Linux only where it must be. Knows the scheduler and the memory of this process; must not know what
runs on it.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fieldtune.robot.config import RealtimeConfig

log = logging.getLogger(__name__)

FULL_COLLECTION_S = 60.0
SWITCH_S = 0.0001

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_TIMERSLACK = 29
_CAP_IPC_LOCK = 14


@contextmanager
def realtime(config: RealtimeConfig, time_scale: float) -> Iterator[None]:
    """Give the calling thread its priority and keep this process in memory, inside.

    Says what was granted, and what to do where it was not. The process's other Python threads come
    right after the caller's. Does nothing for a robot that does not live in real time: a simulation
    that never sleeps would starve all others.
    """
    with ExitStack() as undo:
        if time_scale == 1.0:
            said = [prioritise(config.priority, undo), _lock_memory(config.lock_memory, undo)]
            _hasten_others(undo)
            _sharpen_timers()
            log.info("real time: %s", "; ".join(said))
        else:
            log.info("real time: not asked for, since time_scale is %g", time_scale)
        yield


def not_permitted(config: RealtimeConfig) -> list[str]:
    """What `realtime` would ask for and be refused, each with its cure. Tried, and undone."""
    with ExitStack() as undo:
        said = [prioritise(config.priority, undo), _lock_memory(config.lock_memory, undo)]
    return [one for one in said if one.startswith(("no priority (", "memory not locked ("))]


class Collections:
    """Python's garbage collections, kept out of episodes.

    What lives when an episode begins is frozen, so the collection before the next one looks at what
    came since. Once a minute it looks at everything.
    """

    def __init__(self) -> None:
        self._full_at = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Collect now, and not again until after the block."""
        if time.monotonic() >= self._full_at:
            gc.unfreeze()
            self._full_at = time.monotonic() + FULL_COLLECTION_S
        gc.collect()
        gc.freeze()
        were_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if were_on:
                gc.enable()


def prioritise(priority: int | None, undo: ExitStack) -> str:
    """Give the calling thread its priority, until `undo`; returns what came of it, for people."""
    if priority is None:
        return "priority not asked for (robot.realtime.priority)"
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        # Threads and processes begun from here do not inherit it.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except (OSError, AttributeError, ValueError) as error:
        return (
            f"no priority ({error}): allow it with LimitRTPRIO={priority} in the systemd unit, or "
            "`rtprio` in /etc/security/limits.conf"
        )
    undo.callback(os.sched_setscheduler, 0, *before)
    return f"SCHED_FIFO priority {priority}"


def _hasten_others(undo: ExitStack) -> None:
    """Let no Python thread of this process keep the caller from the interpreter, until `undo`.

    One that other programs' work puts aside while it holds the interpreter's lock makes the caller
    wait, however high the caller's priority: so all get the priority below, but those that have one
    already. And who wants the lock is given it soon, not after Python's five milliseconds.
    """
    undo.callback(sys.setswitchinterval, sys.getswitchinterval())
    sys.setswitchinterval(SWITCH_S)
    if not hasattr(os, "SCHED_FIFO") or not os.sched_getscheduler(0) & os.SCHED_FIFO:
        return
    below = os.sched_param(max(1, os.sched_getparam(0).sched_priority - 1))
    for thread in threading.enumerate():
        number = thread.native_id
        with suppress(OSError):  # it may end meanwhile
            if number is not None and os.sched_getscheduler(number) == os.SCHED_OTHER:
                os.sched_setscheduler(number, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, below)
                undo.callback(_slow_down, number)


def _slow_down(thread: int) -> None:
    with suppress(OSError):
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _lock_memory(wanted: bool, undo: ExitStack) -> str:
    if not wanted:
        return "memory lock not asked for (robot.realtime.lock_memory)"
    cure = "allow it with LimitMEMLOCK=infinity in the systemd unit"
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    # Below a finite limit the lock itself may succeed, and a later allocation then fail.
    if soft != resource.RLIM_INFINITY and not _may_lock_anything():
        return f"memory not locked (at most {soft} bytes are allowed): {cure}"
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        # On fault: what is touched stays; untouched parts of large reservations cost nothing.
        if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
            return f"memory not locked ({os.strerror(ctypes.get_errno())}): {cure}"
    except (OSError, AttributeError) as error:
        return f"memory not locked ({error})"
    undo.callback(libc.munlockall)
    return "memory locked"


def _may_lock_anything() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False


def _sharpen_timers() -> None:
    """Wake the calling thread when it asked for, and not up to 50 µs later, whatever its policy."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    except (OSError, AttributeError):
        log.debug("timer slack cannot be set here")
