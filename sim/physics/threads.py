"""Split a batch of copies over threads. Knows nothing of what is being stepped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

_PIECES_A_THREAD = 8


class Shares:
    """Runs one function over contiguous pieces of `n` rows, on several threads.

    A thread takes the next piece when it is done with one, so that nobody waits for a core that is
    slower, or for rows that take longer, by more than a piece. The function must release the
    interpreter lock for threads to help, and must touch its own rows only. With `threads=1` it runs
    once, in the calling thread, and no thread is ever started.
    """

    def __init__(self, n: int, threads: int) -> None:
        if n < 1:
            raise ValueError(f"n_envs is {n}: expected at least 1 copy to simulate")
        if threads < 1:
            raise ValueError(f"threads is {threads}: expected at least 1 (the calling thread)")
        self._helpers = min(n, threads) - 1
        count = min(n, _PIECES_A_THREAD * threads) if self._helpers else 1
        edges = [n * piece // count for piece in range(count + 1)]
        self._pieces = list(pairwise(edges))
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None

    def run(self, function: Callable[[int, int], None]) -> None:
        """Call `function(start, stop)` for every piece; raise what any of them raised."""
        pieces = iter(self._pieces)
        if self._pool is None:
            _take(function, pieces)
            return
        helping = [self._pool.submit(_take, function, pieces) for _ in range(self._helpers)]
        try:
            _take(function, pieces)
        finally:
            for helper in helping:
                helper.result()

    def close(self) -> None:
        """Stop the threads, if any. Safe to call twice."""
        if self._pool is not None:
            self._pool.shutdown()


def _take(function: Callable[[int, int], None], pieces: Iterator[tuple[int, int]]) -> None:
    """Run pieces while there are any; `pieces` is shared: a list's iterator gives each out once."""
    for start, stop in pieces:
        function(start, stop)
