"""Warnings that others can cause, rationed and made harmless: nobody fills a disk, or a terminal.

Holds how often what was said. It must not know who the others are.
"""

from __future__ import annotations

import logging
import time

QUIET_S = 10.0
_KINDS = 1_000
_LONGEST = 2_000


class RationedLog:
    """Each kind of warning once in ten seconds, with how many like it were left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last: dict[str, float] = {}
        self._skipped: dict[str, int] = {}

    def warn(self, kind: str, text: str, level: int = logging.WARNING) -> None:
        """Say `text` unless its kind was said in the last ten seconds.

        Args:
            kind: what to ration by; there should be few.
            text: cut where it is long; its control characters, which may be another's, are escaped.
            level: of `logging`.
        """
        now = time.monotonic()
        if now - self._last.get(kind, -QUIET_S) < QUIET_S:
            self._skipped[kind] = self._skipped.get(kind, 0) + 1
            return
        if len(self._last) >= _KINDS:  # they should be few: forget rather than grow
            self._last.clear()
            self._skipped.clear()
        self._last[kind] = now
        skipped = self._skipped.pop(kind, 0)
        more = f" (and {skipped} like it before)" if skipped else ""
        self._log.log(level, "%s%s", printable(text[:_LONGEST]), more)


def printable(text: str) -> str:
    """The text with escapes for what would move a cursor, start a line or hide what is there."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
