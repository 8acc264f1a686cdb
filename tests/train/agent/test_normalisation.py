from __future__ import annotations

import numpy as np
import pytest

from fieldtune.sim.family import Field
from fieldtune.train.agent.normalisation import FLOORS, Normalisation, almost_constant, floors

ACTION = np.array([-1.0]), np.array([1.0])
VELOCITY = Field.unbounded("joint_velocity", "rad/s", 2)


def normal(*deviations, rows=2000):
    return np.random.default_rng(0).normal(size=(rows, len(deviations))) * np.array(deviations)


def guarded(fields, observations, rewards=None):
    rewards = normal(1.0)[:, 0] if rewards is None else rewards
    plain = Normalisation.of(observations, rewards, *ACTION)
    return plain.guarded(fields, observations, observations, rewards)


def test_a_joint_that_hardly_moves_in_the_data_has_the_gain_of_its_unit_and_not_of_its_rest():
    """As `joint_velocity[0]` of the demo's data."""
    known = guarded((VELOCITY,), normal(4.6e-5, 0.4))
    assert known.observation_std[0] == pytest.approx(FLOORS["rad/s"])
    assert known.observation_std[1] == pytest.approx(0.4, rel=0.1)
    moved = known.observation(np.array([[0.001, 0.0]])) - known.observation(np.zeros((1, 2)))
    assert np.abs(moved).max() < 0.05


@pytest.mark.parametrize(
    ("field", "deviation", "floor"),
    [
        (Field.unbounded("hand", "m"), [1e-4], [5e-3]),
        (Field("finger", "m", (0.0,), (0.002,)), [1e-4], [1e-4]),  # a tenth of half its range
        (Field("throttle", "share", (0.0,), (1.0,)), [1e-4], [5e-3]),
        (Field.unbounded("current", "A", 3), [1.0, 2.0, 1e-5], [0.02, 0.02, 0.02]),
        (Field("reading", "V", (0.0,), (float("inf"),)), [3.0], [0.03]),
    ],
)
def test_a_floor_knows_the_unit_or_the_range_or_the_components_beside_it(field, deviation, floor):
    np.testing.assert_allclose(floors((field,), np.array(deviation)), floor)


def test_what_never_varied_is_not_listened_to():
    observations = np.column_stack([np.full(500, 0.3), normal(1.0, rows=500)])
    known = guarded((Field.unbounded("handle", "m"), Field.unbounded("x", "m")), observations)
    found = known.observation(np.array([[0.3, 0.0], [0.31, 0.0], [-1e9, 0.0]]))
    assert (found[:, 0] == found[0, 0]).all()


@pytest.mark.parametrize("absurd", [1e30, -1e308, np.inf])
def test_absurd_numbers_end_at_the_range_of_the_data_and_nan_stays_nan(absurd):
    observations = normal(0.2, 0.4)
    known = guarded((VELOCITY,), observations)
    span = np.ptp(observations, axis=0)
    found = known.observation(np.array([[absurd, np.nan]]))
    assert np.isfinite(found[0, 0])
    assert abs(found[0, 0]) < 2 * span[0] / known.observation_std[0]
    assert np.isnan(found[0, 1])
    assert abs(known.action(np.array([absurd]))[0]) == 1.0


def test_exploration_a_little_beyond_the_data_is_seen_as_it_is():
    observations = normal(0.2, 0.4)
    known = guarded((VELOCITY,), observations)
    beyond = observations.max(axis=0) + 0.4 * np.ptp(observations, axis=0)
    back = known.observation(beyond) * known.observation_std + known.observation_mean
    np.testing.assert_allclose(back, beyond, rtol=1e-5)


def test_where_an_episode_ended_is_within_the_range():
    observations = normal(0.2, 0.4)
    following = observations + np.array([0.0, 5.0])
    plain = Normalisation.of(observations, observations[:, 0], *ACTION)
    known = plain.guarded((VELOCITY,), observations, following, observations[:, 0])
    back = known.observation(following) * known.observation_std + known.observation_mean
    np.testing.assert_allclose(back, following, atol=1e-4)


def test_rewards_all_alike_have_no_gain():
    """A reward of 0 among rewards of −0.1 gave a latent of 74,500."""
    known = guarded((VELOCITY,), normal(0.2, 0.4), np.full(2000, -0.1))
    assert known.reward_std == 1.0
    assert (known.reward_low, known.reward_high) == pytest.approx((0.0, 0.0))


def test_rewards_are_clipped_far_out_and_for_the_encoder_alone():
    rewards = normal(2.0)[:, 0] - 5.0
    known = guarded((VELOCITY,), normal(0.2, 0.4), rewards)
    span = np.ptp(rewards) / known.reward_std
    assert known.reward_high - known.reward_low == pytest.approx(3 * span)
    far = known.reward(np.array([1e6]))
    assert far[0] == pytest.approx((1e6 - known.reward_mean) / known.reward_std)


def test_what_stands_on_a_floor_is_named_with_its_unit():
    observations = normal(4.6e-5, 0.4, 0.2)
    fields = (VELOCITY, Field.unbounded("height", "m"))
    (found,) = almost_constant(fields, observations, guarded(fields, observations))
    assert str(found) == "joint_velocity[0] (deviation 4.6e-05 rad/s, floor 0.05)"


def test_constants_come_back_from_a_checkpoint_as_they_were():
    known = guarded((VELOCITY,), normal(0.2, 0.4))
    again = Normalisation.from_arrays(known.arrays())
    assert again.same(known)
    assert not again.same(Normalisation.of(normal(0.2, 0.4), normal(1.0)[:, 0], *ACTION))
    np.testing.assert_array_equal(again.observation(normal(1, 1)), known.observation(normal(1, 1)))
