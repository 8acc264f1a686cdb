"""The watchdog: holds in the loop's place while inference does not return, and ends the process.

On a thread of its own that looks at memory alone: a disk or a network that hangs hinders it as
little as the loop does. It must not know what is inferred, nor what is written about it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from fieldtune.exit_status import FAULT
from fieldtune.robot.outlet import last_words
from fieldtune.robot.safety.estop import LOOK_S, EStop
from fieldtune.robot.timing.realtime import prioritise

AT_REST_S = 10.0  # for one inference where no robot waits for it
RETURN_S = 1.0
WRITING_S = 5.0
FAREWELL_S = 1.0


class Watchdog:
    """Watches one loop through its `estop`.

    A loop that stands still is an emergency stop. If it does so in inference, `hold` is called here
    and says why it failed, if it did. Then `held` is told the reason and that failure, and, where
    inference has not returned a second later, `lost` the reason: on one more thread, since they may
    write to disk, and not for longer than five seconds each. Then the process ends, with the status
    of a fault.
    """

    def __init__(
        self,
        estop: EStop,
        hold: Callable[[], str],
        held: Callable[[str, str], None],
        lost: Callable[[str], None],
    ) -> None:
        self._estop, self._hold, self._held, self._lost = estop, hold, held, lost
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, priority: int | None = None) -> None:
        """Begin to watch, with this priority where it is permitted."""
        if self._thread is None:
            self._closing.clear()
            self._thread = threading.Thread(
                target=self._watch, args=(priority,), name="watchdog", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Stop watching. Safe to call twice."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join(FAREWELL_S)
            self._thread = None

    def _watch(self, priority: int | None) -> None:
        prioritise(priority, contextlib.ExitStack())  # the thread's end takes it back
        lent, call, looks = self._estop.lent, 0, 0
        while not self._closing.wait(LOOK_S):
            if not lent.occupied or lent.calls != call:
                call, looks = lent.calls, 0
            else:
                looks += 1  # and not the time: this process may have stood still
            reason = self._estop.stall()
            if looks * LOOK_S > AT_REST_S:
                reason = reason or f"inference has not returned for {AT_REST_S:g} s"
            if reason and lent.occupied and lent.claim():
                self._stand_in(reason)
            elif reason:
                self._estop.trip(reason)

    def _stand_in(self, reason: str) -> None:
        """The loop is in inference, and the driver ours until `give_back`."""
        self._estop.trip(reason)
        try:
            trouble = self._hold()
        finally:
            self._estop.lent.give_back()
        writing = _begin(self._held, reason, trouble)
        if self._estop.lent.wait_for_return(RETURN_S):
            return  # the loop finds the stop, and ends its episode in a fault
        writing.join(WRITING_S)
        _begin(self._lost, reason).join(WRITING_S)
        last_words(FAREWELL_S)
        os._exit(FAULT)  # no other way leads out of a call that does not return


def _begin(write: Callable[..., None], *what: str) -> threading.Thread:
    thread = threading.Thread(target=write, args=what, name="last writing", daemon=True)
    thread.start()
    return thread
