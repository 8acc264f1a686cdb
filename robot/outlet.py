"""What a process says, on a thread of its own: a reader who does not read delays nothing.

A pager or a stalled ssh session leaves a full pipe, and who writes into it waits: in a log line, in
a driver's `print`, before the robot holds. Here text only queues up, and what nobody takes is
dropped and counted. It must not know who speaks.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import queue
import sys
import threading
import time
from typing import TextIO

WAITING = 5_000  # texts; more are dropped
FAREWELL_S = 1.0
_LOOK_S = 0.005


class Outlet(io.TextIOBase):
    """A text stream whose `write` never waits, in the place of standard output or error.

    `close_within` gives the reader a little time at the end. Nothing is said after that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._descriptor = stream.fileno()
        self._encoding, self._errors = stream.encoding, stream.errors or "strict"
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()  # may be used in signal handlers
        self._taken = self._written = self._dropped = 0
        self._gone = False
        threading.Thread(target=self._run, name="outlet", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return self._errors

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> None:
        """Nothing: who flushes would wait."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # libraries try what kind of stream this is
            raise TypeError(f"text is {type(text).__name__}: expected str")
        if self._gone or self._queue.qsize() >= WAITING:
            self._dropped += 1
        elif text:
            self._taken += 1
            self._queue.put(text)
        return len(text)

    def close_within(self, seconds: float) -> bool:
        """Wait until all is written, `seconds` at most. Returns whether it was."""
        deadline = time.monotonic() + seconds
        while self._written < self._taken and not self._gone:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _run(self) -> None:
        while True:
            text, parts = self._queue.get(), 1
            with contextlib.suppress(queue.Empty):
                while len(text) < io.DEFAULT_BUFFER_SIZE:
                    text, parts = text + self._queue.get_nowait(), parts + 1
            if self._dropped:
                text += f"[{self._dropped} lines were dropped: nobody read them]\n"
                self._dropped = 0
            try:
                self._deliver(text.encode(self._encoding, "backslashreplace"))
            except OSError:  # the reader is gone: the robot goes on
                self._gone = True
            self._written += parts

    def _deliver(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody made it so
                time.sleep(_LOOK_S)


def never_wait_for_readers() -> None:
    """From here on neither standard output nor error, nor a log that goes there, makes anybody
    wait; the end of the process waits for their readers a second at most."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue  # already, or it is another program's
        stream.flush()
        outlet = Outlet(stream)
        setattr(sys, name, outlet)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(outlet)
    atexit.register(last_words, FAREWELL_S)


def last_words(seconds: float) -> None:
    """Give readers up to `seconds` for what was said."""
    deadline = time.monotonic() + seconds
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Outlet):
            stream.close_within(deadline - time.monotonic())
