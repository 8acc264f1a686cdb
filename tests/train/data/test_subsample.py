from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.units import context_of, to_training_units
from fieldtune.train.data.replay import Replay
from fieldtune.train.data.subsample import thinned


def counting(steps, terminated=False):
    """s = 0, 1, 2, …; a = 10 s; r = −s."""
    s = np.arange(steps + 1.0)[:, None]
    return LabelledEpisode(0, s, 10 * s[:-1], -s[:-1, 0], terminated, signals=s[1:] / 2)


@given(st.integers(1, 30), st.data(), st.booleans())
def test_every_kept_transition_is_one_of_the_episode(steps, data, terminated):
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, steps - 1), min_size=1))))
    found = thinned(counting(steps, terminated), kept)
    assert found.steps == len(kept) == len(found.observations) - 1
    np.testing.assert_array_equal(found.observations[:-1, 0], kept)
    np.testing.assert_array_equal(found.next_observations[:, 0], kept + 1)
    np.testing.assert_array_equal(found.actions[:, 0], 10 * kept)
    np.testing.assert_array_equal(found.rewards, -kept)
    np.testing.assert_array_equal(found.signals[:, 0], (kept + 1) / 2)
    assert found.terminated == (terminated and kept[-1] == steps - 1)


def test_an_episode_kept_whole_is_left_as_it_is():
    episode = counting(5)
    assert thinned(episode, np.arange(5)) is episode


class Plain:
    """What `to_training_units` asks of an agent; its units are physical ones, times two."""

    normalisation = Normalisation(
        observation_mean=np.zeros(1, np.float32),
        observation_std=np.full(1, 0.5, np.float32),
        action_centre=np.zeros(1, np.float32),
        action_half_range=np.ones(1, np.float32),
        reward_mean=0.0,
        reward_std=1.0,
    )


def test_what_a_kept_step_led_to_reaches_learning_and_contexts():
    found = thinned(counting(8, terminated=True), np.array([0, 3, 7]))
    replay = Replay(1, 3, 1, 1)
    replay.add(0, to_training_units(Plain, found))
    batch = replay.transitions(np.random.default_rng(0), [0], 64)
    torch.testing.assert_close(batch.next_observation, batch.observation + 2.0)
    assert (batch.done == (batch.observation[..., 0] == 14.0)).all()
    context = context_of(Plain, [found])
    torch.testing.assert_close(context.next_observation, context.observation + 2.0)


def test_a_replay_of_thinned_episodes_is_restored_as_it_was():
    replay, again = Replay(1, 5, 1, 1), Replay(1, 5, 1, 1)
    for episode in (thinned(counting(8, terminated=True), np.array([1, 7])), counting(3)):
        replay.add(0, to_training_units(Plain, episode))
    again.restore(replay.arrays())
    for name, column in replay.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], column, err_msg=name)
