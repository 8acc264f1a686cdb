"""The follower: it never holds up who acts, and what it says is the posterior."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fieldtune.robot.policy import following
from fieldtune.robot.policy.following import FollowedZ, Follower
from fieldtune.robot.policy.policy import PolicyError
from fieldtune.robot.policy.posterior import GaussianPosterior

ONE = np.ones(2), np.zeros(1), np.ones(2)


class Gate:
    """A policy that infers only while `open`, or raises `error`."""

    def __init__(self):
        self.open, self.error = threading.Event(), None
        self.open.set()
        self.asked = threading.Event()

    def factor(self, posterior, observation, action, reward, next_observation):  # noqa: ARG002
        self.asked.set()
        self.open.wait()
        if self.error:
            raise self.error
        return np.full(2, reward), np.ones(2)


@pytest.fixture
def policy():
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def rewards():
    return {}


@pytest.fixture
def follower(policy, rewards):
    made = Follower(
        policy, GaussianPosterior.prior(2), np.full(2, 9.0), lambda: dict(rewards)
    ).start()
    yield made
    made.close()


def never():
    return ""


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_z_follows_each_rewarded_step(follower, rewards):
    z = FollowedZ(follower, 1, patient=True, stopped=never)
    seen = [z.next()]
    for step, reward in enumerate((2.0, 4.0, 6.0)):
        rewards[step] = reward
        follower.put(*ONE)
        seen.append(z.next())
    assert [each.tolist() for each in seen] == [[9.0] * 2, [1.0] * 2, [2.0] * 2, [3.0] * 2]
    assert z.lags == [0] * 4


def test_without_a_reward_the_first_z_stays(follower):
    z = FollowedZ(follower, 1, patient=True, stopped=never)
    for _ in range(3):
        follower.put(*ONE)
        assert z.next().tolist() == [9.0, 9.0]


def test_z_is_held_for_as_many_steps_as_asked(follower, rewards):
    z = FollowedZ(follower, 3, patient=True, stopped=never)
    seen = []
    for step in range(7):
        seen.append(z.next()[0])
        rewards[step] = 1.0
        follower.put(*ONE)
    assert seen == [9.0] * 3 + [0.75] * 3 + [pytest.approx(6 / 7)]


def test_a_reward_between_two_transitions_is_heard_too(follower, rewards):
    follower.put(*ONE)
    until(lambda: follower.now.transitions == 1)
    rewards[0] = 1.0
    until(lambda: follower.now.z[0] == 0.5)


def test_who_acts_in_real_time_waits_for_nothing(follower, policy, rewards):
    """While inference does not return, z stays, and how far it is behind is counted."""
    policy.open.clear()
    rewards[0] = 1.0
    z = FollowedZ(follower, 1, patient=False, stopped=never)
    began = time.monotonic()
    for _ in range(50):
        assert z.next().tolist() == [9.0, 9.0]
        follower.put(*ONE)
    assert time.monotonic() - began < 5.0  # a wait of any kind would last for ever
    assert z.lags == list(range(50))
    policy.open.set()
    until(lambda: follower.now.transitions == 50)
    assert z.next().tolist() == [0.5, 0.5]
    assert z.lags[-1] == 0


def test_a_stop_ends_the_wait_of_a_simulation(follower, policy, rewards):
    policy.open.clear()
    rewards[0] = 1.0
    follower.put(*ONE)
    policy.asked.wait()
    z = FollowedZ(follower, 1, patient=True, stopped=lambda: "somebody pressed it")
    assert z.next().tolist() == [9.0, 9.0]
    assert not follower.trouble


def test_one_that_hangs_is_given_up_and_told(follower, policy, rewards, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE_S", 0.1)
    policy.open.clear()
    rewards[0] = 1.0
    follower.put(*ONE)
    z = FollowedZ(follower, 1, patient=True, stopped=never)
    assert z.next().tolist() == [9.0, 9.0]
    assert "has not answered for 0.1 s" in follower.trouble
    policy.open.set()
    until(lambda: not follower._thread.is_alive())
    assert z.next().tolist() == [9.0, 9.0]  # what comes of it after all is not acted on
    assert follower.finish({}, never) is None


@pytest.mark.parametrize("error", [PolicyError("no such row"), ValueError("not finite")])
def test_one_that_fails_leaves_the_last_z_and_is_told(follower, policy, rewards, error):
    rewards[0] = 1.0
    follower.put(*ONE)
    z = FollowedZ(follower, 1, patient=True, stopped=never)
    assert z.next().tolist() == [0.5, 0.5]
    policy.error = error
    rewards[1] = 1.0
    follower.put(*ONE)
    assert z.next().tolist() == [0.5, 0.5]
    assert str(error) in follower.trouble
    assert follower.finish({0: 1.0}, never) is None


def test_a_source_of_rewards_that_fails_is_told(policy):
    def broken():
        raise OSError("the judge's socket is gone")

    made = Follower(policy, GaussianPosterior.prior(2), np.zeros(2), broken).start()
    until(lambda: made.trouble)
    assert "the judge's socket is gone" in made.trouble


def test_a_thread_that_anything_ends_has_no_posterior(follower, rewards, policy):
    """Not one of the rewards before it either: `sys.exit()` of a plug-in is no Exception."""
    rewards[0] = 1.0
    follower.put(*ONE)
    until(lambda: follower.now.z[0] == 0.5)
    policy.error = SystemExit(2)
    rewards[1] = 1.0
    follower.put(*ONE)
    until(lambda: not follower._thread.is_alive())
    assert "SystemExit: 2" in follower.trouble
    assert follower.finish({0: 1.0, 1: 1.0}, never) is None


def test_nobody_waits_for_the_last_word_who_has_to_stop(follower, policy, rewards):
    rewards[0] = 1.0
    policy.open.clear()
    follower.put(*ONE)
    policy.asked.wait()
    assert follower.finish({0: 1.0}, lambda: "somebody pressed it") is None
    assert "it ended before it had heard all rewards" in follower.trouble


def test_in_the_end_the_rewards_that_were_collected_count(follower, rewards):
    for step in range(4):
        rewards[step] = -1.0
        follower.put(*ONE)
    known = follower.finish({1: 3.0, 3: 5.0}, never)
    assert known.mean.tolist() == [8 / 3, 8 / 3]
    assert known.precision.tolist() == [3.0, 3.0]


def test_how_it_stands_is_logged_while_it_runs(follower, rewards, caplog, monkeypatch):
    monkeypatch.setattr(following, "TELL_S", 0.0)
    caplog.set_level("INFO")
    rewards[0] = -2.5
    follower.put(*ONE)
    until(lambda: "return -2.50 over 1 rewarded steps, deviations of z up to 0.71" in caplog.text)


def test_the_last_word_is_left_to_who_waited_for_it(follower, caplog, monkeypatch):
    monkeypatch.setattr(following, "TELL_S", 0.0)
    caplog.set_level("INFO")
    follower.put(*ONE)
    follower.finish({0: -2.5}, never)
    assert "return -2.50" in str(follower.now)
    assert "return -2.50" not in caplog.text


def test_one_that_cannot_keep_up_tells_as_it_goes_and_not_ever_later(rewards):
    """It told after 1, 2, 4, 8, … transitions, all that had come while it was inferring."""
    allowed = threading.Semaphore(0)

    class Slow(Gate):
        def factor(self, *of_a_transition):
            allowed.acquire()
            return super().factor(*of_a_transition)

    rewards |= dict.fromkeys(range(100), 3.0)
    follower = Follower(Slow(), GaussianPosterior.prior(2), np.zeros(2), lambda: dict(rewards))
    for _ in range(100):
        follower.put(*ONE)
    follower.start()
    allowed.release(10)
    until(lambda: follower.now.transitions == following.AT_ONCE)
    assert follower.now.z.tolist() == pytest.approx([3.0 * 8 / 9] * 2)
    allowed.release(90)
    until(lambda: follower.now.transitions == 100)
    assert follower.now.z.tolist() == pytest.approx([3.0 * 100 / 101] * 2)
    follower.close()


def test_a_reward_that_changes_takes_nothing_back_of_what_was_known(policy, rewards):
    rewards |= dict.fromkeys(range(50), 3.0)
    follower = Follower(policy, GaussianPosterior.prior(2), np.zeros(2), lambda: dict(rewards))
    for _ in range(50):
        follower.put(*ONE)
    follower.start()
    until(lambda: follower.now.transitions == 50)
    told, publish = [], follower._publish
    follower._publish = lambda: publish() or told.append(follower.now.posterior.precision[0])
    rewards |= dict.fromkeys(range(50), 3.001)
    until(lambda: follower.now.z[0] == pytest.approx(3.001 * 50 / 51))
    assert min(told) == 51.0
    follower.close()
