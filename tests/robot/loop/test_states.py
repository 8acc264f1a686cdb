"""States: only the ways that are drawn exist, and a fault stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.loop.states import State, StateError, States


def test_an_episode_goes_from_disarmed_to_hold():
    states = States()
    for state in (State.ARMED, State.RUNNING, State.HOLD, State.ARMED, State.RUNNING):
        states.to(state)
    assert states.current is State.RUNNING


@pytest.mark.parametrize("state", [State.RUNNING, State.HOLD])
def test_nothing_runs_before_it_is_armed(state):
    states = States()
    with pytest.raises(StateError, match="no way from disarmed"):
        states.to(state)
    assert states.current is State.DISARMED


@given(st.lists(st.sampled_from(State), max_size=8))
def test_a_fault_survives_everything_but_a_person(wanted):
    states = States()
    states.fault("first")
    for state in wanted:
        with pytest.raises(StateError, match="rearm, by a person"):
            states.to(state)
    states.fault("second")
    assert (states.current, states.fault_reason) == (State.FAULT, "first")
    states.rearm()
    assert (states.current, states.fault_reason) == (State.DISARMED, "")


def test_rearming_does_nothing_outside_a_fault():
    states = States()
    states.to(State.ARMED)
    states.rearm()
    assert states.current is State.ARMED
