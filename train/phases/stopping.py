"""Ctrl-C while something learns: it waits for the update under way, so that what was learned can be
saved before the command ends. A second one ends it at once. Saves nothing itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from fieldtune.interrupts import ends_by_exception
from fieldtune.train.turns import would_save

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
TOLD: Final = b"\nstopping once this is saved; Ctrl-C again ends it at once\n"


@contextmanager
def between_updates() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the command is to end; who uses it looks after each
    update, saves, and leaves.

    Only signals that would raise `KeyboardInterrupt` are kept; a host program's own handlers are
    left alone. One of another kind is no second one: a study's process gets SIGINT from the
    terminal and SIGTERM from the study. Of several jobs in a process each is asked when the
    process is (`fieldtune.train.study.together`).

    Raises:
        KeyboardInterrupt: at the end, where it was asked for.
    """
    before: dict[int, Any] = {each: signal.getsignal(each) for each in SIGNALS}
    kept = [each for each in SIGNALS if ends_by_exception(before[each])]
    if threading.current_thread() is not threading.main_thread():
        with would_save() as asked_of_all:
            yield asked_of_all
            if asked_of_all():
                raise KeyboardInterrupt
        return
    if not kept:
        yield lambda: False
        return
    asked: set[int] = set()

    def keep(number: int, frame: FrameType | None) -> None:
        if number in asked:
            before[number](number, frame)
        if not asked:
            os.write(2, TOLD)  # what prints may be what was interrupted
        asked.add(number)

    try:
        for each in kept:
            signal.signal(each, keep)
        yield lambda: bool(asked)
    finally:
        for each in kept:
            signal.signal(each, before[each])
    if asked:
        raise KeyboardInterrupt
