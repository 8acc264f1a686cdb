"""Recording from hardware behind a server: guided and teleoperated, over the real frames."""

from __future__ import annotations

import sys
import time

import pytest

from fieldtune.robot.actions.teleoperation import Teleoperation
from fieldtune.robot.config import DriverConfig, LimitsConfig, RobotConfig
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.episodes.episode import EndReason, Mode
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.programs.record import Recording
from fieldtune.robot.safety.latch import latched
from tests.robot.drivers.conftest import SERVERS

# A cheetah whose server outlasts a busy machine.
LENIENT = """
from dataclasses import replace
from hardware_server import parser, serve
from serve_sim import Simulated, describe
from fieldtune.robot.drivers.sim import SimDriver, SimOptions
robot = SimDriver("cheetah-vel", SimOptions())
robot.connect()
serve(Simulated(robot), replace(describe(robot, ()), max_lease_s=20.0), parser("").parse_args())
"""
PATIENT = LimitsConfig(
    observation_age_s=20.0,
    late_fraction=1.0,
    frozen_periods=None,
    loosen=dict.fromkeys(
        ("observation_age_s", "late_fraction"), "tests run on machines that are busy"
    ),
)


@pytest.fixture
def config(options, tmp_path):
    def make(server, **changes) -> RobotConfig:
        settings = options(server, **changes)
        return RobotConfig(
            name="m1",
            family="any",
            state_dir=tmp_path / "state",
            driver=DriverConfig(name="zmq", **settings.model_dump(mode="json", exclude_none=True)),
            limits=PATIENT,
        )

    return make


def test_a_served_robot_is_guided_by_hand_and_then_teleoperated(serve, config, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SERVERS))
    server = serve(sys.executable, "-c", LENIENT)
    settings = config(server, lease_s=10.0)
    (one,) = Recording(settings, create_driver(settings, ""), None, steps=4, pause_s=0.2).run()
    driver = create_driver(settings, "")
    (two,) = Recording(settings, driver, Teleoperation(driver), steps=4).run()
    assert [one.reason, two.reason] == [EndReason.HORIZON] * 2
    with Journal.read(settings.journal) as journal:
        guided, teleoperated = journal.episode(1), journal.episode(2)
    assert (guided.header.mode, teleoperated.header.mode) == (Mode.GUIDED, Mode.TELEOPERATED)
    for episode in (guided, teleoperated):
        actions = [tuple(step.applied) for step in episode.steps]
        assert len(set(actions)) == 4
        assert all(-1.0 <= number <= 1.0 for action in actions for number in action)
    assert "lease ran out" not in server.log


def test_a_server_that_knows_no_hands_is_a_sentence_and_no_fault(joints, config):
    """The C++ one is of before the frames; the Python one's plant lacks the methods."""
    settings = config(joints)
    said = r"does not offer being guided by hand \(release, guided\): give its plant the methods"
    with pytest.raises(NotOffered, match=said):
        list(Recording(settings, create_driver(settings, ""), None, steps=4).run())
    driver = create_driver(settings, "")
    with pytest.raises(NotOffered, match=r"does not offer a person's commands"):
        list(Recording(settings, driver, Teleoperation(driver), steps=4).run())
    assert latched(settings.latch) is None


def test_a_robot_that_left_the_persons_hands_unasked_is_a_fault(serve, driver):
    server = serve(sys.executable, SERVERS / "serve_sim.py", "cheetah-vel")
    here = driver(server)
    here.release()
    while "lease ran out while guided" not in server.log:
        time.sleep(0.01)
    with pytest.raises(DriverFault, match="in nobody's hands any more"):
        here.read()
