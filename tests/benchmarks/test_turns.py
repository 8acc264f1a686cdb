"""Everybody is timed in turns, and nobody always after the same neighbour."""

from __future__ import annotations

from benchmarks.turns import Effort, in_turns, rate


def test_rounds_alternate_their_order_and_the_first_is_not_kept():
    calls: list[str] = []

    def side(name: str):
        def run() -> float:
            calls.append(name)
            return float(len(calls))

        return run

    found = in_turns({"a": side("a"), "b": side("b")}, 2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_a_rate_counts_what_was_done():
    done: list[int] = []

    def run() -> int:
        done.append(7)
        return 7

    assert rate(run, 0.0) > 0
    assert done == [7]


def test_quick_is_less_of_everything():
    quick, full = Effort(True), Effort(False)
    assert quick.rounds < full.rounds
    assert quick.seconds < full.seconds
    assert (quick.choose(2, 1), full.choose(2, 1)) == (1, 2)
