"""Every row is run once, whatever the share, and errors come back."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.sim.physics.threads import Shares, Turns, take


def taken(turns: Turns) -> Iterator[tuple[int, int]]:
    """The pieces that a thread gets."""
    start, stop = take(turns)
    while start < stop:
        yield start, stop
        start, stop = take(turns)


@given(n=st.integers(1, 40), threads=st.integers(1, 6))
def test_every_row_is_run_exactly_once(n: int, threads: int) -> None:
    counts = [0] * n

    def count(turns: Turns) -> None:
        for start, stop in taken(turns):
            for row in range(start, stop):
                counts[row] += 1

    shares = Shares(n, threads)
    shares.run(count)
    shares.close()
    assert counts == [1] * n


def test_a_thread_that_is_held_up_leaves_its_pieces_to_others() -> None:
    others_done = threading.Event()
    ran: dict[int, list[int]] = {}

    def hold_up_the_first(turns: Turns) -> None:
        for start, stop in taken(turns):
            mine = ran.setdefault(threading.get_ident(), [])
            mine += range(start, stop)
            if 0 in mine:
                assert others_done.wait(10.0)
            elif sum(map(len, ran.values())) == 64:
                others_done.set()

    shares = Shares(64, 2)
    shares.run(hold_up_the_first)
    shares.close()
    held_up, other = sorted(ran.values(), key=len)
    assert sorted(held_up + other) == list(range(64))
    assert len(held_up) < len(other) / 2


def test_an_error_in_another_thread_is_raised_here() -> None:
    main, both = threading.get_ident(), threading.Barrier(2, timeout=10.0)

    def fail_elsewhere(turns: Turns) -> None:
        for start, stop in taken(turns):
            both.wait()  # two pieces are under way, so one of them elsewhere
            if threading.get_ident() != main:
                raise ArithmeticError(f"rows {start} to {stop}")

    shares = Shares(2, 2)
    with pytest.raises(ArithmeticError, match=r"rows \d to \d"):
        shares.run(fail_elsewhere)
    shares.close()
