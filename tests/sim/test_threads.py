"""Every row is run once, whatever the share, and errors come back."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.threads import Shares


@given(n=st.integers(1, 40), threads=st.integers(1, 6))
def test_every_row_is_run_exactly_once(n: int, threads: int) -> None:
    counts = [0] * n

    def count(start: int, stop: int) -> None:
        assert start < stop
        for row in range(start, stop):
            counts[row] += 1

    shares = Shares(n, threads)
    shares.run(count)
    shares.close()
    assert counts == [1] * n


def test_an_error_in_another_thread_is_raised_here() -> None:
    main = threading.get_ident()

    def fail_elsewhere(start: int, stop: int) -> None:
        if threading.get_ident() != main:
            raise ArithmeticError(f"rows {start} to {stop}")

    shares = Shares(4, 2)
    with pytest.raises(ArithmeticError, match="rows 2 to 4"):
        shares.run(fail_elsewhere)
    shares.close()
