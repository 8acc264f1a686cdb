"""Split a batch of copies over threads. Knows nothing of what is being stepped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

_PIECES_A_THREAD = 32  # of 64 rows on two threads: one by one

Turns = NDArray[np.int64]
"""The next row that nobody has taken, the number of rows, the rows of a piece, and how many threads
have taken part, `(4,)`."""


class Shares:
    """Runs one function over contiguous pieces of `n` rows, on several threads.

    Each thread calls it once, and takes the next piece by `take` when it is done with one, so that
    nobody waits for a core that is slower, or for rows that take longer, by more than a piece. The
    function must be compiled and release the interpreter lock for threads to help: then no thread
    asks for the interpreter between its pieces. It must touch its own rows only. With `threads=1`
    it runs in the calling thread, and no thread is ever started.

    Attributes:
        threads: on how many it runs; no more than there are rows.
    """

    def __init__(self, n: int, threads: int) -> None:
        if n < 1:
            raise ValueError(f"n_envs is {n}: expected at least 1 copy to simulate")
        if threads < 1:
            raise ValueError(f"threads is {threads}: expected at least 1 (the calling thread)")
        self._helpers = min(n, threads) - 1
        self.threads = self._helpers + 1
        pieces = _PIECES_A_THREAD * self.threads if self._helpers else 1
        self._rows, self._size = n, -(-n // pieces)
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None

    def run(self, function: Callable[[Turns], None]) -> None:
        """Call `function(turns)` on every thread; raise what any of them raised."""
        turns = np.array([0, self._rows, self._size, 0])
        if self._pool is None:
            function(turns)
            return
        helping = [self._pool.submit(function, turns) for _ in range(self._helpers)]
        try:
            function(turns)
        finally:
            for helper in helping:
                helper.result()

    def close(self) -> None:
        """Stop the threads, if any. Safe to call twice."""
        if self._pool is not None:
            self._pool.shutdown()


def _fetch_and_add(typing_context, array, number):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Add to an int64 array's first element, and return what it was: one step for all threads."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        found = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", found.data, arguments[1], "seq_cst")

    return types.int64(array, types.int64), codegen


_taken: Callable[..., Any] = intrinsic(_fetch_and_add)


@njit(nogil=True, cache=True)
def enter(turns):  # type: ignore[no-untyped-def]
    """A number below `Shares.threads` that no other thread of this run has: what is its own."""
    return _taken(turns[3:], 1)


@njit(nogil=True, cache=True)
def take(turns):  # type: ignore[no-untyped-def]
    """The rows from `start` up to `stop` that nobody else is given; none where `start` ≥ `stop`."""
    start = _taken(turns, turns[2])
    return start, min(start + turns[2], turns[1])
