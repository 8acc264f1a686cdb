"""A child process that does not outlive its parent, however that ends (Linux; elsewhere it may).

Knows one call of the kernel, and how a group of processes is ended; not what the child does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before any fork


def end_with_parent(parent: int, number: signal.Signals) -> bool:
    """For a child to call: from then on the kernel sends it `number` when the thread that started
    it is gone. False where process `parent` was gone before."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    return os.getppid() == parent


def ends_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """What `subprocess.Popen` is to run in the child before the program (`preexec_fn`), so that it
    ends with the thread that starts it. So start it from the main thread."""
    parent = os.getpid()

    def before_program() -> None:
        if not end_with_parent(parent, number) and _prctl is not None:  # it died in between
            os._exit(1)

    return before_program


def start_group(
    command: Sequence[str], cwd: Path | None = None, bufsize: int = -1
) -> subprocess.Popen[bytes]:
    """A child that is spoken with by pipes and leads a process group: Ctrl-C is for its parent to
    answer, and it ends with it (`ends_with_parent`). `cwd` and `bufsize` as `subprocess.Popen`'s.
    """
    return subprocess.Popen(
        command,
        bufsize=bufsize,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=ends_with_parent(),
    )


def end_group(process: subprocess.Popen[bytes], farewell_s: float = 1.0) -> None:
    """End a child that leads a process group, and what it started: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(farewell_s)
            return
