"""What a run's algorithm is before it has learned anything."""

from __future__ import annotations

from fieldtune.train.runs.untrained import untrained_from_seed


def test_an_untrained_algorithm_follows_from_its_seed(make_run, state, same):
    run = make_run()
    first, again, other = (untrained_from_seed(run, 1e-3, seed) for seed in (3, 3, 4))
    assert same(state(first[0]), state(again[0]))
    assert first[1].random() == again[1].random()
    assert not same(state(first[0])["networks"], state(other[0])["networks"])
