"""Trying a driver: what is done with the robot, and what its mistakes look like afterwards."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import CommandKind, JointsConfig, LimitsConfig
from fieldtune.robot.driver_trial.places import Moved, places_of
from fieldtune.robot.driver_trial.report import TrialReport, report
from fieldtune.robot.driver_trial.text import lines
from fieldtune.robot.driver_trial.trial import DriverTrial, Stopped
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import DriverFault, Observation
from fieldtune.robot.drivers.watched import WatchedDriver
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.estop import EmergencyStop, EStop
from fieldtune.robot.safety.fault import LimitFault

INF = math.inf
ANGLE = FieldSpec(name="angle", unit="rad", low=(-math.pi,), high=(math.pi,))
TARGET = FieldSpec(name="target", unit="rad", low=(-3.0,), high=(3.0,))


@dataclass
class Hinge:
    """One joint that goes where it is told at once; its sensor is a little noisy, as all are."""

    robot: str = "hinge"
    observation_fields: tuple[FieldSpec, ...] = (ANGLE,)
    action_fields: tuple[FieldSpec, ...] = (TARGET,)
    period_s: float = 0.002
    time_scale: float = 1.0
    angle: float = 0.5
    home_at: float = 1.0

    def __post_init__(self) -> None:
        self.commands, self.held = [], 0
        self._noise = np.random.default_rng(0)

    def connect(self) -> None: ...

    def home(self, seed: int) -> None:  # noqa: ARG002
        self.angle = self.home_at

    def read(self) -> Observation:
        value = self.angle + 1e-6 * self._noise.standard_normal()
        return Observation(np.array([value]), time.monotonic_ns())

    def apply(self, action):
        self.angle = float(action[0])
        self.commands.append(self.angle)
        return action

    def hold(self) -> None:
        self.held += 1

    def close(self) -> None:
        self.hold()


def prepared(hinge: Hinge, **limits: object) -> tuple[DriverTrial, WatchedDriver]:
    driver = WatchedDriver(checked(hinge, "hinge"))
    driver.connect()
    joints = JointsConfig(
        names=("hinge",),
        position="angle",
        command="target",
        command_kind=CommandKind.POSITION,
    )
    built = build_limits(
        LimitsConfig(joints=(joints,), **({"observation_age_s": 0.02} | limits)),
        observation_fields=driver.observation_fields,
        robot_action_fields=driver.action_fields,
        policy_action_fields=driver.action_fields,
        period_s=driver.period_s,
    )
    return DriverTrial(driver, built, EStop()), driver


def tried(hinge: Hinge, cycles: int = 20, looks: int = 5) -> TrialReport:
    hinge.time_scale = math.inf  # no busy machine makes an observation old
    trial, driver = prepared(hinge)
    trial.look(looks)
    trial.home(0)
    trial.stay(cycles, trial.where())
    return report(trial, driver, (), ())


def test_it_is_held_where_it_was_found_and_not_dragged_along_by_its_sensor():
    hinge = Hinge()
    found = tried(hinge)
    assert len(hinge.commands) == 20
    assert len(set(hinge.commands)) == 1
    assert hinge.commands[0] == pytest.approx(1.0, abs=1e-4)
    assert (found.cycles, found.readings, found.differs) == (20, 5, 0.0)
    assert (found.wrong, hinge.held) == ((), 1)


@pytest.mark.parametrize("step", [0.01, -0.01])
@pytest.mark.parametrize("told", [True, False])
def test_a_robot_that_does_not_stay_where_it_was_is_wrong_and_soon_at_rest(step, told):
    class Drifting(Hinge):
        def read(self):
            self.angle += step
            return super().read()

        def apply(self, action):
            return action

    hinge = Drifting(time_scale=math.inf)
    trial, driver = prepared(hinge)
    trial.look(20)
    trial.home(0)
    with pytest.raises(Moved, match=r"it did not stay where it was: angle was (1|0\.9)") as caught:
        trial.stay(100, trial.where() if told else None)
    assert 3 < len(trial.stayed.values) < 20
    assert hinge.held == 1
    found = report(trial, driver, (str(caught.value),), ())
    assert "nothing is wrong" not in lines(found)
    assert not any("did not stay" in note for note in found.notes)  # it is said once


def test_a_noisy_sensor_is_no_motion():
    class Noisy(Hinge):
        def read(self):
            now = super().read()
            return replace(now, values=now.values + 0.05 * self._noise.standard_normal())

    found = tried(Noisy(), cycles=100, looks=20)
    assert (found.cycles, found.wrong) == (100, ())


def test_a_joint_that_sinks_a_little_is_noted_and_is_not_wrong():
    class Soft(Hinge):
        def apply(self, action):
            applied = super().apply(action)
            self.angle -= 0.02
            return applied

    found = tried(Soft())
    assert found.wrong == ()
    assert any("it did not stay where it was: angle was 1 and is 0.98" in n for n in found.notes)


def test_a_simulation_that_nobody_has_told_how_to_stay_may_move():
    class Falling(Hinge):
        def apply(self, action):
            self.angle -= 0.1
            return action

    hinge = Falling(time_scale=math.inf)
    trial, driver = prepared(hinge)
    assert not trial.stay(5, np.array([0.0]), may_move=True)
    found = report(trial, driver, (), ())
    assert any("it did not stay where it was" in note for note in found.notes)


def test_what_counts_as_a_place_are_the_joints_positions_else_all_places():
    fields = (
        FieldSpec(name="object", unit="mm", low=(-INF,) * 2, high=(INF,) * 2),
        FieldSpec(name="speed", unit="rad/s", low=(-1.0,), high=(1.0,)),
        FieldSpec(name="angle", unit="deg", low=(-180.0,), high=(180.0,)),
    )
    assert places_of(fields, ()).names == ("object[0]", "object[1]", "angle")
    places = places_of(fields, prepared_joints(fields))
    assert places.names == ("angle",)
    still, seam = np.array([0.0, 0.0, 0.0, 179.9]), np.array([9e9, 0.0, 0.0, -179.9])
    assert places.left([still, seam], places.noise([])) == ""
    assert "angle was 179.9 and is 175 1 cycles" in places.left([still, still - 4.9], np.zeros(1))


def prepared_joints(fields):
    return build_limits(
        LimitsConfig(joints=(JointsConfig(names=("a",), position="angle"),)),
        observation_fields=fields,
        robot_action_fields=(TARGET,),
        policy_action_fields=(TARGET,),
        period_s=0.02,
    ).joints


@pytest.mark.parametrize("said", [math.nan, 1e30, math.inf])
def test_an_applied_action_that_cannot_be_is_as_wrong_as_in_a_run(said):
    class Odd(Hinge):
        def apply(self, action):
            super().apply(action)
            return np.array([said])

    hinge = Odd(time_scale=math.inf)
    trial, driver = prepared(hinge)
    with pytest.raises(LimitFault, match="the driver says that it applied"):
        trial.stay(100, np.array([0.5]))
    assert (len(hinge.commands), hinge.held) == (1, 1)
    found = report(trial, driver, (), ())
    assert (found.commanded, found.differs) == ((0.5,), None)


def test_looking_moves_nothing_and_judges_nothing():
    hinge = Hinge(angle=50.0)
    trial, driver = prepared(hinge)
    trial.look(5)
    assert (hinge.commands, hinge.angle) == ([], 50.0)
    found = report(trial, driver, (), ())
    assert (found.homed_s, found.commanded, found.cycles) == (None, None, 0)
    assert any("outside the bounds" in note for note in found.notes)


def test_without_a_command_it_is_only_read():
    hinge = Hinge(time_scale=math.inf)
    trial, driver = prepared(hinge)
    trial.stay(20, None)
    assert hinge.commands == []
    assert report(trial, driver, (), ()).apply_ms is None


def test_an_observation_beyond_its_limits_ends_it_at_rest():
    hinge = Hinge(home_at=9.0, time_scale=math.inf)
    trial, _ = prepared(hinge)
    trial.home(0)
    with pytest.raises(LimitFault, match="angle is 9"):
        trial.stay(20, None)
    assert hinge.held == 1


def test_an_emergency_stop_ends_it_at_rest():
    hinge = Hinge(time_scale=math.inf)
    trial, _ = prepared(hinge)
    trial._estop.trip("red button")
    with pytest.raises(EmergencyStop, match="red button"):
        trial.stay(20, np.array([0.5]))
    with pytest.raises(EmergencyStop):
        trial.home(0)
    assert (hinge.commands, hinge.held, hinge.angle) == ([], 2, 0.5)


def test_once_asked_to_stop_it_does_not_begin_to_home():
    hinge = Hinge()
    trial, _ = prepared(hinge)
    trial.request_stop("SIGTERM")
    for part in (lambda: trial.look(5), lambda: trial.home(0), lambda: trial.stay(5, None)):
        with pytest.raises(Stopped, match="ended by SIGTERM"):
            part()
    assert hinge.angle == 0.5


def test_a_homing_that_raises_is_held():
    hinge = Hinge()
    hinge.home = lambda seed: 1 // 0  # noqa: ARG005
    trial, _ = prepared(hinge)
    with pytest.raises(DriverFault, match=r"\.home raised ZeroDivisionError"):
        trial.home(0)
    assert hinge.held == 1


class OwnBuffer(Hinge):
    def __post_init__(self) -> None:
        super().__post_init__()
        self._seen, self._did = np.zeros(1), np.zeros(1)

    def read(self) -> Observation:
        now = super().read()
        self._seen[:] = now.values
        return replace(now, values=self._seen)

    def apply(self, action):
        self._did[:] = super().apply(action)
        self._did += 1e-9 * len(self.commands)
        return self._did


def test_arrays_that_are_not_its_own_are_told_and_are_not_wrong():
    assert tried(Hinge()).reuses == ()
    found = tried(OwnBuffer())
    assert found.reuses == ("apply", "read")
    assert found.wrong == ()
    assert "arrays      reused by apply, read" in lines(found)
    assert any("own buffer: that is allowed, and copied" in note for note in found.notes)


def test_the_same_observation_again_is_no_reuse():
    class Latest(Hinge):
        latest = None

        def read(self):
            self.latest = self.latest or super().read()
            return self.latest

    assert tried(Latest(), cycles=3).reuses == ()


def test_an_action_changed_in_place_is_told():
    class Halving(Hinge):
        def apply(self, action):
            super().apply(action)
            action /= 2
            return action

    found = tried(Halving())
    assert found.changes_actions
    assert found.differs == pytest.approx(0.5, abs=1e-3)
    assert any("something else than was asked, by up to 0.5" in note for note in found.notes)


def test_a_joint_that_goes_round_is_found_by_its_jump():
    class Seam(Hinge):
        def read(self):
            now = super().read()
            return replace(now, values=(now.values + np.pi) % (2 * np.pi) - np.pi)

    hinge = Seam(home_at=math.pi, time_scale=math.inf)
    trial, driver = prepared(hinge)
    trial.home(0)
    trial.stay(20, None)
    found = report(trial, driver, (), ())
    assert found.observation[0].jumps
    assert any("jumps by a whole turn: angle" in note for note in found.notes)


def test_homing_is_not_taken_for_a_jump():
    (angle,) = tried(Hinge(angle=-2.9, home_at=2.9)).observation
    assert (angle.jumps, angle.full_turn) == (False, True)


def test_a_constant_component_is_named():
    found = tried(replace_read(lambda now: replace(now, values=np.array([1.0]))))
    assert found.observation[0].constant
    assert any("the same to the last bit all the time: angle" in note for note in found.notes)


def replace_read(change) -> Hinge:
    class Changed(Hinge):
        def read(self):
            return change(super().read())

    return Changed()


def test_a_time_of_another_clock_is_wrong():
    found = tried(replace_read(lambda now: replace(now, sense_ns=now.sense_ns + 10**12)))
    assert any("monotonic clock, time.monotonic_ns()" in sentence for sentence in found.wrong)
    times = iter(range(10**9, 0, -(10**7)))
    found = tried(replace_read(lambda now: replace(now, sense_ns=next(times))))
    assert any("an older sense_ns after a newer one" in sentence for sentence in found.wrong)


def test_terminated_at_the_start_is_wrong():
    found = tried(replace_read(lambda now: replace(now, terminated=True)))
    assert any("says `terminated` at the start" in sentence for sentence in found.wrong)


def test_no_number_is_wrong_and_can_be_told_as_json():
    hinge = replace_read(lambda now: replace(now, values=np.array([np.nan])))
    hinge.time_scale = math.inf
    trial, driver = prepared(hinge)
    trial.look(3)
    found = report(trial, driver, (), ())
    assert found.wrong == (f"{driver.label}.read gave no number for angle: check the sensor",)
    assert (found.observation[0].seen_low, found.observation[0].seen_high) == (None, None)


def test_a_driver_that_cannot_keep_its_period_is_wrong():
    class Slow(Hinge):
        def read(self):
            time.sleep(0.004)
            return super().read()

    trial, driver = prepared(Slow())
    trial.look(20)
    (sentence,) = report(trial, driver, (), ()).wrong
    assert "cannot keep its period of 2 ms" in sentence
    assert "(read takes " in sentence
