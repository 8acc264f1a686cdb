"""A Franka behind the `zmq` driver: the law and limits here, the rest against Franka's protocol.

The second half runs `servers/serve_franka.py` in an environment of its own, against franky-sim;
what the arm did is read from the simulator's physics (`benchmarks/franka_arm.py`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import franka_law as law  # servers/, on the path by conftest.py
import numpy as np
import pytest
import serve_franka
from franka_link import NotReady, Seen
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.franka_arm import RECORD
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.sim.manipulation.arms import ARMS
from fieldtune.sim.manipulation.reach.family import ReachFamily
from fieldtune.sim.manipulation.start import start_joints

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-franka" / "bin" / "python"
SERVER = ROOT / "servers" / "serve_franka.py"
SETTINGS = {
    "robot": "127.0.0.1",
    "arm": "fr3",
    "workspace": {"low": [0.2, -0.3, -0.05], "high": [0.7, 0.3, 0.4]},
    "max_lease_s": 0.3,
    "home_speed_rad_s": 1.0,
    "realtime": False,
}
STILL_RAD_S = 0.01
numbers = st.floats(-2.0, 2.0)
threes = st.lists(numbers, min_size=3, max_size=3).map(np.array)
sevens = st.lists(numbers, min_size=7, max_size=7).map(np.array)

needs_franky = pytest.mark.skipif(
    not PYTHON.exists(), reason="franky is not installed: `make franka` does, about 700 MB"
)


@pytest.fixture
def settings(tmp_path):
    """Write arm.json; `changes` replace keys, None removes one."""

    def write(**changes: object) -> Path:
        path = tmp_path / "arm.json"
        values = SETTINGS | changes
        path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
        return path

    return write


@pytest.fixture
def bounds(settings) -> law.Bounds:
    return serve_franka.bounds_of(serve_franka.read_settings(settings()))


def test_it_is_the_panda_of_reach(settings):
    family = ReachFamily(robot="panda")
    served = serve_franka.describe(serve_franka.read_settings(settings()))
    assert (served.robot, served.period_s) == ("panda", family.period_s)
    for mine, theirs in (
        (served.observation, family.observation_fields),
        (served.action, family.action_fields),
    ):
        assert [(f.name, f.unit, f.low, f.high) for f in mine] == [
            (f.name, f.unit, f.low, f.high) for f in theirs
        ]
    np.testing.assert_allclose(law.start_of(7), start_joints(ARMS["panda"].home_joints, 7))


@pytest.mark.slow
def test_the_law_is_what_the_familys_simulator_does():
    """The four numbers are a fit to it: they come out again."""
    simulator, rng = ReachFamily(robot="panda").simulator(64), np.random.default_rng(0)
    seen = simulator.reset(np.arange(64), np.zeros((64, 3)))
    asked, before, mean, after = [], [], [], []
    for step in range(50):
        if step % 5 == 0:
            drawn = rng.uniform(-0.05, 0.05, (64, 3))
        action = np.clip(drawn + rng.normal(0, 0.01, (64, 3)), -0.05, 0.05)
        last, (seen, _) = seen, simulator.step(action)
        asked.append(action)
        before.append(last[:, 17:])
        mean.append((seen - last)[:, 14:17] / law.PERIOD_S)
        after.append(seen[:, 17:])
    simulator.close()
    known = np.stack([np.ravel(asked), np.ravel(before)], axis=1)
    for told, constants in (
        (np.ravel(mean), (law.MEAN_OF_D, law.MEAN_OF_V)),
        (np.ravel(after), (law.NEXT_OF_D, law.NEXT_OF_V)),
    ):
        fitted = np.linalg.lstsq(known, told, rcond=None)[0]
        np.testing.assert_allclose(fitted, constants, rtol=0.03)
        left = np.sqrt(np.mean((told - known @ constants) ** 2))
        assert left < 0.25 * told.std(), left


@given(velocity=threes, place=threes)
def test_the_end_effector_stays_in_were_this_the_last_command(velocity, place):
    box = law.Bounds(
        np.full(3, -1.0), np.ones(3), np.full(7, -1.0), np.ones(7), 0.5, 1.0, stop_s=0.3
    )
    kept = law.kept_in(velocity, place, box)
    assert np.linalg.norm(kept) <= 0.5 + 1e-12
    assert (kept * velocity >= 0).all()
    there = place + 0.3 * kept
    assert (there <= np.maximum(place, 1.0) + 1e-9).all()
    assert (there >= np.minimum(place, -1.0) - 1e-9).all()


@given(velocity=sevens, joints=sevens)
def test_joints_stay_in_were_this_the_last_command(velocity, joints):
    box = law.Bounds(
        np.full(3, -1.0), np.ones(3), np.full(7, -1.0), np.ones(7), 0.5, 1.0, stop_s=0.3
    )
    slowed = law.within(velocity, joints, box)
    assert np.abs(slowed).max() <= 1.0 + 1e-9
    there = joints + 0.3 * slowed
    assert (there <= np.maximum(joints, 1.0) + 1e-6).all()
    assert (there >= np.minimum(joints, -1.0) - 1e-6).all()
    fastest = np.abs(velocity).argmax()
    if abs(velocity[fastest]) > 1e-6:  # all alike: the direction is what was asked
        share = slowed[fastest] / velocity[fastest]
        np.testing.assert_allclose(slowed, share * velocity, atol=1e-12)


def grip_site(joints: np.ndarray) -> np.ndarray:
    """By Franka's Denavit-Hartenberg parameters, `(3,)` in the base frame."""
    pose = np.eye(4)
    for q, a, d, alpha in zip(
        joints,
        [0, 0, 0, 0.0825, -0.0825, 0, 0.088],
        [0.333, 0, 0.316, 0, 0.384, 0, 0],
        np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2,
        strict=True,
    ):
        c, s, ca, sa = np.cos(q), np.sin(q), np.cos(alpha), np.sin(alpha)
        turn = [[c, -s, 0, a], [s * ca, c * ca, -sa, -d * sa], [s * sa, c * sa, ca, d * ca]]
        pose = pose @ np.array([*turn, [0, 0, 0, 1]])
    return (pose @ [0, 0, 0.107 + law.TOOL_M, 1])[:3]


def test_the_start_is_where_the_workspace_is_held_against():
    np.testing.assert_allclose(grip_site(law.HOME), law.HOME_M, atol=1e-3)


class Integrator:
    """An arm whose joints do at once what they are told; three of them are the three axes."""

    def __init__(self) -> None:
        self.joints = law.HOME.copy()
        self.position = np.array([0.45, 0.0, 0.1])
        self.velocity = np.zeros(7)
        self.trouble = ""
        self._jacobian = np.eye(6, 7)

    def seen(self) -> Seen:
        return Seen(
            time.monotonic_ns(),
            "Idle",
            (),
            self.joints,
            self.velocity,
            self.position,
            np.eye(3),
            self._jacobian,
        )

    def ready(self) -> Seen:
        if self.trouble:
            raise NotReady(self.trouble)
        return self.seen()

    def move(self, velocity: np.ndarray) -> None:
        self.velocity = velocity
        self.joints = self.joints + law.PERIOD_S * velocity
        self.position = self.position + law.PERIOD_S * self._jacobian[:3] @ velocity

    def rest(self) -> None:
        self.velocity = np.zeros(7)


def test_what_is_applied_is_what_was_asked_until_a_limit_is_near(bounds):
    link = Integrator()
    arm = serve_franka.Arm(link, bounds, 1.0)
    arm.home(0)
    link.joints = law.start_of(0)
    assert arm.homed()
    asked = [0.03, 0.0, 0.0]
    applied = [arm.apply(asked) for _ in range(60)]
    assert applied[0] == asked  # to the bit: a limit that does nothing is not told
    assert applied[-1][0] < 0.01
    assert 0.6 < link.position[0] <= bounds.high[0]
    assert np.abs(np.array(applied)).max() <= law.FARTHEST_M
    back = [arm.apply([-0.03, 0.0, 0.0]) for _ in range(5)]
    assert back[-1] == [-0.03, 0.0, 0.0]


def test_homing_keeps_the_fingertips_speed(bounds):
    """Seven joints at `home_speed_rad_s` would carry it faster."""
    link, tips = Integrator(), []
    link._jacobian[0] = 0.8  # every joint moves it along x
    link.joints = law.start_of(0) - 0.4
    arm = serve_franka.Arm(link, dataclasses.replace(bounds, speed=0.1), 1.0, lambda: len(tips))
    arm.home(0)
    while not arm.homed():
        tips.append(float(np.linalg.norm(link._jacobian[:3] @ link.velocity)))
        assert len(tips) < 1000
    assert 0.099 < max(tips) <= 0.1 + 1e-9
    np.testing.assert_allclose(link.joints, law.start_of(0), atol=law.HOME_RAD)


def test_an_arm_that_may_not_move_refuses_in_its_own_words(bounds):
    link = Integrator()
    arm = serve_franka.Arm(link, bounds, 1.0)
    link.trouble = "the arm is in reflex"
    for call in (lambda: arm.home(0), lambda: arm.apply([0.0, 0.0, 0.0])):
        with pytest.raises(NotReady, match="in reflex"):
            call()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"robot": None}, "'robot' is missing"),
        ({"speed": 1}, "unknown key 'speed'; known: robot, arm"),
        ({"arm": "ur5"}, "'arm' is 'ur5': expected panda or fr3"),
        ({"speed_m_s": 0}, "'speed_m_s' is 0: expected a number above 0"),
        ({"speed_m_s": True}, "'speed_m_s' is True"),
        ({"realtime": 1}, "'realtime' is 1"),
        ({"robot": " "}, "'robot' is ' ': expected the address of the arm's controller"),
        ({"acceleration": 1.5}, "'acceleration' is 1.5: expected 1 at most"),
        ({"acceleration": 0.01}, "'acceleration' is 0.01: expected 0.05 at least"),
        ({"max_lease_s": 3}, "'max_lease_s' is 3: expected 0.5 at most"),
        ({"max_lease_s": 3}, "without the key it is 0.2"),
        ({"speed_m_s": 5}, "'speed_m_s' is 5: expected 1.7 at most"),
        ({"joint_speed_rad_s": 10}, "'joint_speed_rad_s' is 10: expected 2.175 at most"),
        ({"home_speed_rad_s": 10}, "'home_speed_rad_s' is 10: expected 2.175 at most"),
        ({"torque_threshold_nm": 1e6}, "'torque_threshold_nm' is 1000000.0: expected 100 at most"),
        ({"force_threshold_n": 101}, "'force_threshold_n' is 101: expected 100 at most"),
        ({"workspace": {"low": [0.5, -1, 0], "high": [1, 1, 1]}}, "start's fingertip at [0.4"),
        ({"workspace": {"low": [0, 0, 0]}}, "'workspace' is {'low': [0, 0, 0]}: expected low and"),
        ({"workspace": {"low": [0, 0, 1], "high": [1, 1, 1]}}, "low below high"),
        ({"joint_margin_rad": 0.5}, "'joint_margin_rad' is 0.5, which leaves the start no place"),
    ],
)
def test_settings_that_cannot_be_are_explained(settings, changes, says):
    with pytest.raises(serve_franka.Mistake, match=re.escape(says)):
        serve_franka.bounds_of(serve_franka.read_settings(settings(**changes)))


class Franka:
    """A simulated arm's controller, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        number = os.getpid()
        self.hostname = f"127.7.{number // 250 % 250}.{number % 250 + 1}"
        self._log = folder / "physics.bin"
        arm = ROOT / "benchmarks" / "franka_arm.py"
        words = ["--hostname", self.hostname, "--log", self._log, "--lost-ticks", "100"]
        self.process = subprocess.Popen(
            [PYTHON, arm, *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("a Franka at")

    def fastest(self, since: float, until: float) -> float:
        """The fastest joint's speed in rad/s between two times of `time.monotonic`."""
        rows = np.fromfile(self._log, RECORD)
        seen = rows[(rows["at_s"] >= since) & (rows["at_s"] < until)]
        assert len(seen), "the simulator has told nothing"
        return float(np.abs(seen["dq"]).max())

    def require_rest(self, since: float, within_s: float) -> None:
        """Its physics stands still, from `within_s` after that time on."""
        assert self.fastest(since - 0.2, since) > 0.05, "it did not even move"
        time.sleep(max(0.0, since + within_s + 0.3 - time.monotonic()))
        assert self.fastest(since + within_s, since + within_s + 0.3) < STILL_RAD_S


@pytest.fixture(scope="module")
def franka(tmp_path_factory):
    arm = Franka(tmp_path_factory.mktemp("franka"))
    yield arm
    arm.process.kill()
    arm.process.wait()


@pytest.fixture
def served(serve, franka, settings):
    return lambda: serve(PYTHON, SERVER, settings(robot=franka.hostname))


def heard(here) -> bool:
    try:
        here.hold()
    except DriverFault:
        return False
    return True


def drive(here, steps: int) -> None:
    for _ in range(steps):
        here.read()
        here.apply(np.array([0.0, 0.03, 0.01]))
        time.sleep(law.PERIOD_S)


@needs_franky
@pytest.mark.slow
def test_a_franka_is_homed_moved_and_stopped_when_nobody_commands(served, franka, driver):
    server = served()
    here = driver(server, lease_s=0.2)
    here.home(3)
    start = here.read().values
    np.testing.assert_allclose(start[:7], law.start_of(3), atol=0.02)
    drive(here, 20)
    moved = here.read()
    way = moved.values[14:17] - start[14:17]
    assert way[1] > 0.06  # a second at 4.6 times 0.03 m, from rest
    assert abs(way[0]) < 0.02
    assert 0 <= time.monotonic_ns() - moved.sense_ns < 100e6
    franka.require_rest(time.monotonic(), within_s=0.5)  # silent: the lease, and braking
    with pytest.raises(DriverFault, match="the lease ran out while driven"):
        here.apply(np.zeros(3))
    here.home(4)
    drive(here, 10)
    stopped = time.monotonic()
    here.hold()
    franka.require_rest(stopped, within_s=0.3)
    here.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


@needs_franky
@pytest.mark.slow
def test_after_a_reflex_only_a_person_lets_it_move_again(served, franka, driver):
    server = served()
    here = driver(server)
    here.home(0)
    drive(here, 10)
    hit = time.monotonic()
    franka.process.send_signal(signal.SIGUSR1)
    with pytest.raises(DriverFault, match=r"in reflex \(cartesian_reflex\): look at the arm, then"):
        drive(here, 10)
    franka.require_rest(hit, within_s=0.2)
    with pytest.raises(DriverFault, match="in reflex"):
        here.home(0)
    assert here.read().values.shape == (20,)  # it can be looked at meanwhile
    server.process.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    here.home(0)
    drive(here, 5)


@needs_franky
@pytest.mark.slow
def test_a_network_that_comes_back_is_connected_to_again(served, franka, driver):
    server = served()
    here = driver(server, timeout_s=1.0, home_patience_s=1.0)
    here.home(0)
    drive(here, 10)
    cut = time.monotonic()
    franka.process.send_signal(signal.SIGHUP)
    try:
        franka.require_rest(cut, within_s=0.3)
        with pytest.raises(DriverFault, match="the arm's controller at"):
            here.read()
        with pytest.raises(DriverFault, match="the plant cannot hold: NotReady"):
            here.hold()  # nobody can say that it holds
        time.sleep(2.0)
    finally:
        franka.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 20
    while not heard(here):
        assert time.monotonic() < until
        time.sleep(0.2)
    with pytest.raises(DriverFault, match=r"in reflex \(communication_constraints_violation\)"):
        here.home(0)  # a person looks at it first
    server.process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    here.home(0)
    drive(here, 5)


@needs_franky
@pytest.mark.slow
def test_a_server_that_is_killed_leaves_the_arm_at_rest(served, franka, driver):
    server = served()
    here = driver(server, timeout_s=0.5, home_patience_s=0.5)
    here.home(0)
    drive(here, 10)
    killed = time.monotonic()
    server.process.kill()
    franka.require_rest(killed, within_s=0.3)
    with pytest.raises(DriverFault, match="has not said that it holds"):
        here.close()


@needs_franky
@pytest.mark.slow
def test_nothing_of_fieldtune_is_in_its_environment():
    script = (
        f"import sys; sys.path.insert(0, {str(SERVER.parent)!r}); import serve_franka\n"
        "print(sorted({'robot', 'export', 'sim', 'train', 'fieldtune'} & set(sys.modules)))\n"
        "import franky; print(franky.__file__)"
    )
    done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[]\n")
    assert ".venv-franka" in done.stdout
