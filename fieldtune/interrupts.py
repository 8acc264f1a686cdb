"""Ctrl-C, from a command's first moment to its last: 130 and one sentence, never a traceback.

While modules are loaded it waits until they are: libraries written in C print what breaks them off
in the middle, and some then end as if they were not installed. Knows no command.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from fieldtune.exit_status import INTERRUPTED

TOLD: Final = "interrupted"
_IMPORTING = "<frozen importlib._bootstrap>"


@contextmanager
def told_when_interrupted() -> Iterator[None]:
    """Run a whole command line. One that ignores Ctrl-C, as behind `nohup`, goes on doing so.

    After it Ctrl-C ends the process as it does any other, at once and without a word, which a shell
    tells as 130.

    Raises:
        SystemExit: 130 once that is told, where no command inside has told it; or what a command
            ends with.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `held_back`
        yield
    except KeyboardInterrupt:
        print(TOLD, file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as end:
        before = end.__context__
        if before is not None and isinstance(before.__cause__, KeyboardInterrupt):
            print(TOLD, file=sys.stderr)  # Typer ends with 130 and says nothing
        raise
    finally:
        # What is left is the interpreter's own end, which can take seconds and has nothing to keep.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def ends_by_exception(handler: Any) -> bool:
    """Whether a signal's handler raises `KeyboardInterrupt` and does nothing else."""
    return handler in (_interrupt, signal.default_int_handler)


def held_back() -> None:
    """Keep Ctrl-C for the program that takes this one's place, until it is `told_when_interrupted`:
    an interpreter that starts would print a traceback."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    importer = _importer(frame)
    if importer is None:
        raise KeyboardInterrupt

    def next_line(*_: Any) -> None:
        sys.settrace(None)
        raise KeyboardInterrupt

    importer.f_trace = next_line
    sys.settrace(lambda *_: None)  # as a debugger does: else no frame's own is called


def _importer(frame: FrameType | None) -> FrameType | None:
    """The frame whose import all that runs now is a part of; None where nothing is imported."""
    found = None
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            found = frame.f_back
        frame = frame.f_back
    return found
