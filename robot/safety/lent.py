"""Who may call the driver while the loop is away in inference.

Holds a token. It must not know the driver, nor what is inferred.

Whoever takes the token has the driver: the loop takes it back when inference returns; a watcher may
claim it before, and gives the driver back with `give_back`. Taking is one step of the interpreter,
so there is no lock to wait for.
"""

from __future__ import annotations

import threading

PATIENCE_S = 5.0  # for a watcher that holds meanwhile


class Lent:
    """A context, `occupied` while the loop is inside. `calls` counts how often it went in."""

    def __init__(self) -> None:
        self.calls = 0
        self.occupied = False
        self._token: list[int] = []
        self._given_back = threading.Event()
        self._returned = threading.Event()

    def __enter__(self) -> None:
        self.calls += 1
        self.occupied = True
        self._token.append(self.calls)

    def __exit__(self, *error: object) -> None:
        try:
            self._token.pop()
        except IndexError:  # somebody holds the robot in this thread's place
            self._returned.set()
            self._given_back.wait(PATIENCE_S)
        self.occupied = False

    def claim(self) -> bool:
        """Take the driver, if the loop is inside. From another thread."""
        self._returned.clear()
        self._given_back.clear()
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def give_back(self) -> None:
        """The driver is the loop's again, once it returns."""
        self._given_back.set()

    def wait_for_return(self, seconds: float) -> bool:
        """Whether the loop has come back from inference, after `seconds` at most."""
        return self._returned.wait(seconds)
