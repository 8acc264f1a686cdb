"""Ctrl-C while something learns: it waits for the update under way, so that what was learned can be
saved before the command ends. A second one ends it at once. Saves nothing itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def between_updates() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the command is to end; who uses it looks after each
    update, saves, and leaves.

    Signals that this process does not answer by an exception are left alone: those are for others.

    Raises:
        KeyboardInterrupt: at the end, where it was asked for.
    """
    answered = [each for each in SIGNALS if _is_answered(each)]
    if threading.current_thread() is not threading.main_thread() or not answered:
        yield lambda: False
        return
    asked = False
    before: dict[int, Any] = {each: signal.getsignal(each) for each in answered}

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            before[number](number, frame)
        asked = True

    for each in answered:
        signal.signal(each, keep)
    try:
        yield lambda: asked
    finally:
        for each in answered:
            signal.signal(each, before[each])
    if asked:
        raise KeyboardInterrupt


def _is_answered(number: signal.Signals) -> bool:
    return callable(signal.getsignal(number))
