"""Split a batch of copies over threads. Knows nothing of what is being stepped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise


class Shares:
    """Runs one function over contiguous shares of `n` rows, one share a thread.

    The function must release the interpreter lock for threads to help, and must touch its own rows
    only. With `threads=1` it runs in the calling thread and no thread is ever started.
    """

    def __init__(self, n: int, threads: int) -> None:
        if n < 1:
            raise ValueError(f"n_envs is {n}: expected at least 1 copy to simulate")
        if threads < 1:
            raise ValueError(f"threads is {threads}: expected at least 1 (the calling thread)")
        count = min(n, threads)
        edges = [n * share // count for share in range(count + 1)]
        self._shares = list(pairwise(edges))
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    def run(self, function: Callable[[int, int], None]) -> None:
        """Call `function(start, stop)` for every share; raise what any of them raised."""
        pending = [
            self._pool.submit(function, *share)
            for share in (self._shares[1:] if self._pool is not None else [])
            if self._pool is not None
        ]
        try:
            function(*self._shares[0])
        finally:
            for future in pending:
                future.result()

    def close(self) -> None:
        """Stop the threads, if any. Safe to call twice."""
        if self._pool is not None:
            self._pool.shutdown()
