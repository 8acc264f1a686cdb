"""Intervals: wide enough for whatever a robot may honestly meet, and closed to what none can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.sim.family import bounds
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.plausible import LARGEST, among, anything, beyond

CHEETAH, REACH, HOPPER = map(make_family, ("cheetah-vel", "reach", "hopper-params"))
ROOT_HEIGHT, JOINT_VELOCITY = 0, slice(11, 17)  # in cheetah-vel's observations


def episode(observations, rewards=None):
    steps = len(observations) - 1
    paid = np.zeros(steps) if rewards is None else rewards
    return LabelledEpisode(0, observations, np.zeros((steps, 6)), paid, False)


def walk(seed=0, steps=200, scale=1.0):
    rng = np.random.default_rng(seed)
    return episode(scale * rng.normal(size=(steps + 1, 20)), rng.normal(size=steps))


def within(where, observations):
    return bool(((observations >= where.low) & (observations <= where.high)).all())


def test_a_newcomer_may_go_ten_times_as_far_as_the_data_and_not_a_thousand_times():
    data = [walk(seed) for seed in range(3)]
    where = beyond(CHEETAH, data)
    assert within(where, 8 * walk(9).observations)
    glitch = walk(9).observations.copy()
    glitch[7, 3] = 1000.0
    assert not within(where, glitch)


def test_a_component_that_hardly_moved_may_move_as_the_others_of_its_field_did():
    data = walk()
    data.observations[:, 11] *= 1e-5  # joint_velocity[0]
    where = beyond(CHEETAH, [data])
    moved = data.observations.copy()
    moved[:, 11] = 3.0
    assert within(where, moved)


def test_a_field_that_never_moved_may_move_by_its_unit_or_its_size():
    still = walk(scale=0.0)
    still.observations[:, ROOT_HEIGHT] = 40.0
    where = beyond(CHEETAH, [still])
    for height, wide in ((80.0, True), (0.0, True), (200.0, False)):
        moved = still.observations.copy()
        moved[5, ROOT_HEIGHT] = height
        moved[5, JOINT_VELOCITY] = 0.9
        assert within(where, moved) == wide


def test_declared_bounds_are_what_counts_where_there_are_any():
    data = [episode(0.01 * np.ones((5, 11)), np.arange(4.0))]  # velocities are within ±10
    low, high = beyond(HOPPER, data).low, beyond(HOPPER, data).high
    np.testing.assert_array_equal((low[-3:], high[-3:]), ([-30.0] * 3, [30.0] * 3))
    low_0, high_0 = (side[0] for side in bounds(REACH.observation_fields))
    assert anything(REACH).high[0] == pytest.approx(high_0 + (high_0 - low_0))
    assert anything(CHEETAH).high.tolist() == [LARGEST] * 20


@pytest.mark.parametrize("value", [1e5, -1e30, 1e308])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_few_absurd_numbers_do_not_vouch_for_each_other(value, rows):
    data = [walk(seed) for seed in range(3)]
    data[1].observations[50 : 50 + rows, 12] = value
    with np.errstate(over="ignore", invalid="ignore"):
        where = among(CHEETAH, data)
    assert not within(where, data[1].observations)
    assert within(where, data[0].observations)


def test_in_the_smallest_dataset_one_absurd_number_is_still_seen():
    data = episode(np.zeros((4, 20)), np.array([0.0, 1.0, 1e9]))
    data.observations[2, 3] = 1e9
    where = among(CHEETAH, [data])
    assert not within(where, data.observations)
    assert where.reward_high < 1e9


def test_what_happens_seldom_is_not_absurd():
    """A contact force that is zero but for one step in a thousand."""
    data = [walk(seed, 1000) for seed in range(3)]
    for each in data:
        each.observations[:, ROOT_HEIGHT] = 0.0
        each.observations[500, ROOT_HEIGHT] = 700.0
        each.rewards[:] = 0.0
        each.rewards[999] = 100.0
    where = among(CHEETAH, data)
    assert all(within(where, each.observations) for each in data)
    assert where.reward_low <= 0.0 < 100.0 <= where.reward_high


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6), st.integers(1, 60))
def test_data_are_plausible_among_and_beyond_themselves(seed, scale, shift, steps):
    rng = np.random.default_rng(seed)
    data = [
        episode(shift + scale * rng.normal(size=(steps + 1, 20)), rng.normal(size=steps))
        for _ in range(2)
    ]
    for where in (among(CHEETAH, data), beyond(CHEETAH, data)):
        assert (where.low <= where.high).all()
        assert all(within(where, each.observations) for each in data)
