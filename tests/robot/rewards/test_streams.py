"""Which transition a reward belongs to: rewards that come when they come, sorted afterwards."""

from __future__ import annotations

import time

import pytest

from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.rewards.streams import GivenReward, Listener


@pytest.fixture
def listener():
    def make(*, one_word_ends=False, **settings):
        made = Listener(
            RewardsConfig(**({"patience_s": 0.0} | settings)), one_word_ends=one_word_ends
        )
        made.begin(7)
        return made

    return make


def never():
    return False


def now():
    time.sleep(0.001)
    return time.monotonic_ns()


def test_a_reward_without_a_step_is_for_the_transition_under_way(listener):
    made = listener()
    made.say(GivenReward(now(), 1.0))
    made.complete()
    made.complete()
    made.say(GivenReward(now(), 2.0))
    made.complete()
    made.complete()
    assert made.collect(never) == {0: 1.0, 2: 2.0}


def test_a_reward_after_the_end_is_for_the_last_transition(listener):
    made = listener()
    made.complete()
    made.complete()
    made.say(GivenReward(now(), 3.0))
    assert made.collect(never) == {1: 3.0}


def test_what_is_said_last_counts(listener):
    made = listener()
    made.complete()
    made.say(GivenReward(now(), 1.0))
    made.say(GivenReward(now(), -1.0))
    assert made.collect(never) == {0: -1.0}


def test_a_reward_may_name_its_step_and_episode(listener):
    made = listener()
    for _ in range(3):
        made.complete()
    made.say(GivenReward(now(), 5.0, step=1))
    made.say(GivenReward(now(), 6.0, step=2, episode=7))
    assert made.collect(never) == {1: 5.0, 2: 6.0}


@pytest.mark.parametrize(
    "said",
    [
        GivenReward(0, 1.0),
        GivenReward(2**62, 1.0, step=2),
        GivenReward(2**62, 1.0, step=-1),
        GivenReward(2**62, 1.0, step=0, episode=6),
        GivenReward(2**62, float("nan"), step=0),
        GivenReward(2**62, float("inf")),
    ],
)
def test_what_belongs_to_no_transition_of_this_episode_is_dropped(listener, said):
    made = listener()
    made.complete()
    made.complete()
    made.say(said)
    assert made.collect(never) == {}


def test_a_reaction_time_is_taken_off(listener):
    made = listener(delay_s=0.05)
    began = now()
    made.complete()
    time.sleep(0.06)
    made.say(GivenReward(began + 50_000_000 - 1_000, 1.0))  # the person saw what was before `began`
    made.complete()
    made.say(GivenReward(now() + 50_000_000, 2.0))
    assert made.collect(never) == {0: 1.0, 1: 2.0}


def test_a_sticky_reward_goes_on_until_the_next_one(listener):
    made = listener(sticky=True)
    for _ in range(5):
        made.complete()
    made.say(GivenReward(now(), -1.0, step=1))
    made.say(GivenReward(now(), 0.0, step=3))
    assert made.collect(never) == {1: -1.0, 2: -1.0, 3: 0.0, 4: 0.0}


def test_late_rewards_are_waited_for_until_all_are_there(listener):
    made = listener(patience_s=60.0)
    made.complete()
    made.complete()
    made.say(GivenReward(now(), 1.0, step=0))
    made.say(GivenReward(now(), 1.0, step=1))
    assert len(made.collect(never)) == 2


def test_a_persons_word_after_the_end_is_enough(listener):
    made = listener(patience_s=60.0, one_word_ends=True)
    for _ in range(3):
        made.complete()
    made.say(GivenReward(now(), 1.0))
    assert made.collect(never) == {2: 1.0}


def test_a_stop_ends_the_wait(listener):
    made = listener(patience_s=60.0)
    made.complete()
    assert made.collect(lambda: True) == {}


def test_an_episode_starts_with_nothing_said(listener):
    made = listener()
    made.say(GivenReward(now(), 1.0, step=0))
    made.begin(8)
    made.complete()
    assert made.collect(never) == {}
