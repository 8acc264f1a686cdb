"""When something that a hardware server saw happened, on this robot's clock; never too late.

Pure arithmetic over echoes; knows no sockets. The server's clock needs no setting.
"""

from __future__ import annotations

DRIFT = 1e-3  # crystals differ by 1e-4 at most, and a clock being set slews by 5e-4


class SenseClock:
    """How far the server's monotonic clock is ahead of ours, at most.

    A request that left at our time `sent` and came at the server's time `received` shows that the
    server is ahead by no more than `received - sent`: what it took on its way is never negative.
    The smallest such bound counts, and grows with time by what two clocks may drift apart. An
    observation's age is thus over-estimated by about the quickest request's way, and never under.
    """

    def __init__(self) -> None:
        self._ahead_ns: int | None = None
        self._at_ns = 0

    def add(self, sent_ns: int, received_ns: int, replied_ns: int, returned_ns: int) -> None:
        """Take one round trip; `sent` and `returned` are on our clock, the others on theirs."""
        bound = received_ns - sent_ns
        if self._ahead_ns is None or bound < self._drifted(sent_ns):
            self._ahead_ns, self._at_ns = bound, sent_ns
        elif self._drifted(returned_ns) < replied_ns - returned_ns:  # ahead by no less than that:
            self._ahead_ns, self._at_ns = bound, sent_ns  # a clock has jumped, as after a suspend

    def ours(self, server_ns: int, now_ns: int) -> int:
        """The latest time on our clock at which it cannot have been later there."""
        assert self._ahead_ns is not None, "add() a round trip first"
        return server_ns - self._drifted(now_ns)

    def _drifted(self, now_ns: int) -> int:
        assert self._ahead_ns is not None
        return self._ahead_ns + round(DRIFT * max(0, now_ns - self._at_ns))
