"""Which transition a reward belongs to: rewards that come when they come, sorted afterwards."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.rewards import streams
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


def test_what_is_known_by_now_is_of_complete_transitions(listener):
    made = listener()
    made.say(GivenReward(now(), 1.0))
    made.say(GivenReward(now(), 9.0, step=2))
    assert made.so_far() == {}
    made.complete()
    assert made.so_far() == {0: 1.0}
    made.complete()
    made.say(GivenReward(now(), 2.0))
    assert made.so_far() == {0: 1.0}
    made.complete()
    assert made.so_far() == {0: 1.0, 2: 2.0}
    assert made.collect(never) == {0: 1.0, 2: 2.0}


def test_a_later_word_changes_what_was_known(listener):
    made = listener(sticky=True, delay_s=0.05)
    for _ in range(3):
        made.complete()
    made.say(GivenReward(now(), -1.0, step=0))
    assert made.so_far() == {0: -1.0, 1: -1.0, 2: -1.0}
    made.say(GivenReward(now(), 0.0, step=1))
    assert made.so_far() == {0: -1.0, 1: 0.0, 2: 0.0}


@given(
    st.lists(
        st.one_of(
            st.just("complete"),
            st.just("look"),
            st.tuples(st.floats(-5, 5), st.one_of(st.none(), st.integers(-1, 6))),
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_what_is_known_when_all_is_said_is_what_is_collected(happens, sticky):
    """Looking on the way changes nothing, and tells of complete transitions alone."""
    made = Listener(RewardsConfig(patience_s=0.0, sticky=sticky), one_word_ends=False)
    made.begin(1)
    complete, meant = 0, {}
    for event in happens:
        if event == "complete":
            complete = made.complete() + 1
        elif event == "look":
            assert all(0 <= step < complete for step in made.so_far())
        else:
            reward, step = event
            made.say(GivenReward(time.monotonic_ns(), reward, step=step))
            meant[complete if step is None else step] = reward
    made.complete()
    expected, held = {}, None
    for step in range(complete + 1):
        held = meant.get(step, held if sticky else None)
        if held is not None:
            expected[step] = held
    assert made.so_far() == made.collect(never) == expected


@pytest.mark.parametrize("ahead", [0, 100, None])
def test_a_word_is_sorted_once_however_often_one_looks(listener, monkeypatch, ahead):
    """60,000 of them took the interpreter 60 ms at each look, 50 times a second."""
    made, sorted_words = listener(), []
    for _ in range(10):
        made.complete()
    for step in range(10):  # of steps that are there, of ones to come, and of the one under way
        made.say(GivenReward(now(), 1.0, step=None if ahead is None else ahead + step))
    look_up = made._step_of
    monkeypatch.setattr(made, "_step_of", lambda *a: sorted_words.append(a) or look_up(*a))
    for _ in range(3):
        assert len(made.so_far()) == (10 if ahead == 0 else 0)
    assert len(sorted_words) == 10


def test_words_beyond_what_is_kept_are_told(listener, monkeypatch, caplog):
    monkeypatch.setattr(streams, "MOST_WORDS", 5)
    made = listener()
    made.complete()
    for step in range(8):
        made.say(GivenReward(now(), float(step), step=100 + step))
    made.so_far()
    assert made.collect(never) == {}
    assert "8 rewards belong to no transition" in caplog.text


def test_it_may_be_asked_while_others_speak_and_the_loop_goes_on(listener):
    made, said, known = listener(), 2_000, []

    def speak():
        for step in range(said):
            made.say(GivenReward(time.monotonic_ns(), float(step), step=step))

    threads = [
        threading.Thread(target=speak),
        threading.Thread(target=lambda: [made.complete() for _ in range(said)]),
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        known.append(made.so_far())
    known.append(made.so_far())
    assert known[-1] == {step: float(step) for step in range(said)}
    assert all(set(one.items()) <= set(known[-1].items()) for one in known)
