"""A file that a full disk may refuse: written when it is due, and tried again until it is there.

Knows no learning; what is written, and how, is its owner's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

RETRY_S = 5.0


class RetriedWrite:
    """Calls `write` for its owner, who goes on when that raises `OSError`.

    Args:
        what: the name of it in the log.
        write: replaces the file whole, or raises and leaves it as it was.
    """

    def __init__(self, what: str, write: Callable[[], None]) -> None:
        self._what, self._write = what, write
        self._again_at: float | None = None

    def write(self) -> None:
        """Write it, now or as soon as the disk allows."""
        try:
            self._write()
        except OSError as error:
            if self._again_at is None:
                log.error("%s cannot be written, trying again: %s", self._what, error)
            self._again_at = time.monotonic() + RETRY_S
        else:
            if self._again_at is not None:
                log.info("%s is written again", self._what)
            self._again_at = None

    def retry_if_due(self) -> None:
        """Try again where it was refused and `RETRY_S` have passed. Call it often."""
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self.write()
