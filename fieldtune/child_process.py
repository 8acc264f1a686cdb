"""A child process that does not outlive its parent, however that ends (Linux; elsewhere it may).

Knows one call of the kernel; not what the child does.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before any fork


def ends_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """What `subprocess.Popen` is to run in the child before the program (`preexec_fn`): from then
    on the kernel sends it `number` when the thread that started it is gone. So start it from the
    main thread."""
    parent = os.getpid()

    def before_program() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

    return before_program
