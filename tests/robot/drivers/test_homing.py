"""Homing over a link that loses answers: patient, told once, and over when the link is."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.frames import Ask, Say, State
from tests.robot.drivers.conftest import SERVERS, kind_of, state_of

SEED = 0xFFFF  # both joints to 0.2 rad, which takes a second
PATIENT = {"timeout_s": 0.1, "lease_s": 0.4, "home_patience_s": 20.0}


class Once:
    """Loses the first frame for which `meant` is true."""

    def __init__(self, meant) -> None:
        self.lost, self._meant = 0, meant

    def __call__(self, frame: bytes) -> bool:
        if self.lost or not self._meant(frame):
            return False
        self.lost = 1
        return True


class Silent:
    """Loses everything for `seconds` from the moment at which the robot is seen to home."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, None

    def __call__(self, frame: bytes) -> bool:
        if self._until is None and state_of(frame) is State.HOMING:
            self._until = time.monotonic() + self._seconds
        return self._until is not None and time.monotonic() < self._until


def assert_told(between, server, times: int) -> None:
    """How often the robot was told to home, unless a busy machine cost it its lease."""
    if "lease ran out" not in server.log:
        assert between.asked.count(Ask.HOME) == times


def assert_at_its_start(driver) -> None:
    driver._timeout_s = 20.0
    assert driver.read().values.tolist() == pytest.approx([0.2, 0.2, 0.0, 0.0])
    assert driver.apply(np.full(2, 0.1)).tolist() == [0.1, 0.1]


def test_one_missed_answer_while_homing_is_asked_for_again(joints, line, driver):
    """The kind of second that once latched a fault: nothing for a tenth of it."""
    between = line(joints)
    here = driver(joints, address=between.address, **PATIENT)
    between.loses = Once(lambda frame: state_of(frame) is State.HOMING)
    here.home(SEED)
    assert between.loses.lost == 1
    assert_at_its_start(here)
    assert_told(between, joints, 1)


@pytest.mark.parametrize(
    ("what", "told"), [(Say.HOMING, 1), (Ask.HOME, 2)], ids=["its answer", "the request"]
)
def test_a_home_that_is_lost_is_told_again_only_where_it_was_not_heard(
    joints, line, driver, what, told
):
    between = line(joints)
    here = driver(joints, address=between.address, **PATIENT)
    between.loses = Once(lambda frame: kind_of(frame) == what)
    here.home(SEED)
    assert between.loses.lost == 1
    assert_at_its_start(here)
    assert_told(between, joints, told)


def test_an_earlier_start_is_not_taken_for_this_one(joints, line, driver):
    between = line(joints)
    here = driver(joints, address=between.address, **PATIENT)
    here.home(0)
    between.loses = Once(lambda frame: kind_of(frame) == Ask.HOME)
    here.home(SEED)
    assert_at_its_start(here)


def test_homing_goes_on_after_a_silence_in_which_the_server_held(joints, line, driver):
    between = line(joints)
    here = driver(joints, address=between.address, **PATIENT)
    between.loses = Silent(1.0)
    here.home(SEED)
    assert_at_its_start(here)
    assert "the lease ran out while homing" in joints.log


def test_a_silence_longer_than_its_patience_is_a_fault_and_the_server_holds(joints, line, driver):
    between = line(joints)
    patience = PATIENT | {"home_patience_s": 0.5}
    here = driver(joints, address=between.address, **patience)
    between.loses = Silent(3600.0)
    with pytest.raises(DriverFault, match=r"no answer to SENSE .*nothing came for 0\.5 s"):
        here.home(SEED)
    while "the lease ran out while homing" not in joints.log:
        time.sleep(0.01)
    assert between.asked.count(Ask.HOME) == 1
    with pytest.raises(DriverFault, match="has not said that it holds"):
        here.hold()
    between.loses = lambda frame: False  # noqa: ARG005


STUCK = f"""
import sys
sys.path.insert(0, {str(SERVERS)!r})
from hardware_server import parser, serve
from serve_joints import DESCRIPTION, Joints

class Stuck(Joints):
    def homed(self):
        if super().sense().values[0] > 0.05:
            raise OSError("limit switch")
        return False

serve(Stuck(), DESCRIPTION, parser("stuck").parse_args())
"""


def test_a_robot_that_rests_for_another_reason_is_not_homed_again(serve, line, driver):
    server = serve(sys.executable, "-c", STUCK)
    between = line(server)
    here = driver(server, address=between.address, **PATIENT)
    with pytest.raises(DriverFault, match="came to rest before its start"):
        here.home(SEED)
    assert_told(between, server, 1)
    assert "homing failed: limit switch" in server.log


def test_a_homing_that_never_ends_is_given_up_and_held(serve, driver):
    server = serve(sys.executable, "-c", STUCK.replace("0.05", "9"))
    here = driver(server, home_timeout_s=1.5)
    with pytest.raises(DriverFault, match=r"still on its way .*home_timeout_s, 1\.5 s"):
        here.home(SEED)
    assert "asked to hold" in server.log
