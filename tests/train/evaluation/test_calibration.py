"""What is said of a classifier's probabilities, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.train.evaluation.calibration import calibration


def test_the_numbers_by_hand():
    probability = np.array([0.05, 0.05, 0.65, 0.95])
    happened = np.array([False, True, False, True])
    found = calibration(probability, happened)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.65**2 + 0.05**2) / 4)
    assert found.expected_error == pytest.approx((2 * 0.45 + 0.65 + 0.05) / 4)
    assert (found.found, found.ruled_out) == (0.5, 0.5)
    assert [(each.observed, each.count) for each in found.bins] == [(0.5, 2), (0.0, 1), (1.0, 1)]


def test_a_right_coin_is_calibrated_and_a_boaster_is_not():
    happened = np.arange(100) % 2 == 0
    assert calibration(np.full(100, 0.5), happened).expected_error == pytest.approx(0.0)
    assert calibration(np.full(100, 0.99), happened).expected_error == pytest.approx(0.49)


def test_what_never_happened_has_no_share_that_was_found():
    found = calibration(np.array([0.2, 0.7]), np.array([False, False]))
    assert (found.found, found.ruled_out) == (None, 0.5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_every_prediction_is_in_one_bin_and_errors_are_shares(pairs):
    probability, happened = (np.array(column) for column in zip(*pairs, strict=True))
    found = calibration(probability, happened)
    assert sum(each.count for each in found.bins) == len(pairs)
    assert 0 <= found.expected_error <= 1 + 1e-9
    assert 0 <= found.brier <= 1
