"""How far the trainer's monotonic clock is ahead of the robot's, from echoed times.

Pure arithmetic over a window of echoes; knows no sockets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 64


@dataclass(frozen=True)
class Echo:
    """One round trip, in nanoseconds. `sent` and `returned` are on the robot's clock, `received`
    and `replied` on the trainer's."""

    sent: int
    received: int
    replied: int
    returned: int

    @property
    def round_trip_ns(self) -> int:
        """Time on the way, both ways; what the trainer took to answer is not in it."""
        return (self.returned - self.sent) - (self.replied - self.received)

    @property
    def offset_ns(self) -> int:
        """Trainer minus robot, if both ways took equally long."""
        return ((self.received - self.sent) + (self.replied - self.returned)) // 2


class ClockOffset:
    """The best of the last `WINDOW` echoes: that with the smallest round trip."""

    def __init__(self) -> None:
        self._echoes: deque[Echo] = deque(maxlen=WINDOW)

    def add(self, echo: Echo) -> None:
        """Take one echo; one that is impossible (it came back before it left) is left out."""
        if echo.round_trip_ns >= 0 and echo.replied >= echo.received:
            self._echoes.append(echo)

    def clear(self) -> None:
        """Forget: the other clock may be another one (the trainer has restarted)."""
        self._echoes.clear()

    def estimate(self) -> tuple[int, int] | None:
        """`(offset_ns, uncertainty_ns)`, or None before the first echo.

        The truth is within the uncertainty, half the round trip, however unequal the two ways are.
        """
        if not self._echoes:
            return None
        best = min(self._echoes, key=lambda echo: echo.round_trip_ns)
        return best.offset_ns, (best.round_trip_ns + 1) // 2
