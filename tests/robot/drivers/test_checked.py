"""The boundary to a driver: arrays of one's own, and every mistake a sentence that names it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import BoxConfig, JointsConfig, LimitsConfig
from fieldtune.robot.drivers.checked import CheckedDriver, checked
from fieldtune.robot.drivers.driver import DriverFault, Observation
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.rewards.driver import DriverRewards, RewardSource
from fieldtune.robot.rewards.lookup import reward_stream
from fieldtune.robot.safety.estop import EmergencyStop
from fieldtune.robot.safety.latch import latched
from tests.robot.conftest import ACTION, PointMass

NAMED = r"driver 'arm' \(tests\.robot\.drivers\.test_checked\.\w+\)"


def ours(driver, *, connect: bool = True) -> CheckedDriver:
    made = checked(driver, "arm")
    if connect:
        made.connect()
    return made


def gives(**methods: Callable) -> CheckedDriver:
    """A point mass with some methods replaced, connected."""
    kind = type("Wrong", (PointMass,), methods | {"__module__": __name__})
    return ours(kind())


def seen(**changes) -> Callable:
    whole = Observation(np.zeros(2), 7)
    return lambda self: replace(whole, **changes)  # noqa: ARG005


def journalled(config):
    with Journal.read(config.journal) as journal:
        return [journal.episode(entry.number) for entry in journal.entries()]


# Arrays


@dataclass
class OwnBuffer(PointMass):
    """Writes each observation, and what it applied, into one array each, for ever."""

    def __post_init__(self) -> None:
        self._seen, self._applied = np.zeros(2), np.zeros(1)

    def read(self) -> Observation:
        now = super().read()
        self._seen[:] = now.values
        return replace(now, values=self._seen, signals=self._seen)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self._applied[:] = super().apply(action)
        return self._applied


def test_a_driver_that_reuses_its_buffer_does_not_change_what_was_seen():
    driver = ours(OwnBuffer())
    driver.home(0)
    before = driver.read()
    was = before.values.tolist()
    first = driver.apply(np.array([2.0]))
    after = driver.read()
    driver.apply(np.array([-1.0]))
    assert before.values.tolist() == before.signals.tolist() == was != after.values.tolist()
    assert first.tolist() == [2.0]


def test_what_was_applied_as_asked_is_no_driver_change():
    driver, asked = ours(OwnBuffer()), np.ones(1)
    assert driver.apply(asked) is asked


def test_what_was_seen_and_applied_cannot_be_changed_by_anyone():
    driver = ours(OwnBuffer())
    driver.driver._applied = np.ones(1, np.float32)
    for array in (driver.read().values, driver.read().signals, driver.apply(np.full(1, 0.1))):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9.0


def test_the_velocity_limit_holds_for_a_driver_that_reuses_its_buffer(config, point_bundle):
    """Velocities are taken from positions, so they come from two observations that must differ."""
    point_bundle(push=100.0, horizon=100)
    limits = LimitsConfig(
        joints=(JointsConfig(names=("slider",), position="position"),),
        joint_velocity={"slider": 2.0},
        frozen_periods=None,
    )
    mass = OwnBuffer()
    summary = Daemon(config.model_copy(update={"limits": limits}), mass, episodes=1).run()
    assert "joint slider: velocity" in summary.fault
    assert "outside [-2.1, 2.1]" in summary.fault
    assert abs(mass.state[1]) < 2.3


def test_an_action_changed_in_place_is_journalled_as_what_was_applied(config, point_bundle):
    def halve(self, action):
        action /= 2
        return PointMass.apply(self, action)

    point_bundle()
    mass = type("Halving", (PointMass,), {"apply": halve})()
    Daemon(config, mass, episodes=1).run()
    (episode,) = journalled(config)
    assert [step.applied[0] for step in episode.steps] == mass.commands
    assert [step.requested[0] / 2 for step in episode.steps] == mass.commands
    assert {step.reason for step in episode.steps} == {"driver"}


def test_a_driver_may_keep_an_action_and_change_it_later():
    kept = []

    def keep(self, action):  # noqa: ARG001
        kept.append(action)
        return action

    asked = np.ones(1)
    driver = gives(apply=keep)
    applied = driver.apply(asked)
    kept[0][:] = 9.0
    assert (asked.tolist(), applied.tolist()) == ([1.0], [1.0])


def test_rewards_are_given_arrays_that_they_may_spoil(config, point_bundle):
    def spoil(self, observation, action, next_observation):  # noqa: ARG001
        for array in (observation, action, next_observation):
            array *= np.nan
        return -1.0

    mass = type("Spoiling", (PointMass,), {"reward": spoil})()
    driver = checked(mass, "arm")
    rewards = reward_stream(config.rewards, driver)
    adaptation = Adaptation(config, driver, rewards, bundle=point_bundle(next_observation=True))
    done = list(adaptation.run())
    assert [episode.total_reward for episode in done] == [-5.0] * 3
    assert np.isfinite(adaptation.posterior.mean).all()


def test_numbers_of_another_type_become_float64():
    driver = gives(
        read=seen(values=np.array([1, 2], np.int32), sense_ns=np.int64(5), terminated=np.True_),
        apply=lambda self, action: action.astype(np.float32),  # noqa: ARG005
    )
    observation = driver.read()
    assert (observation.values.dtype, observation.values.tolist()) == (np.float64, [1.0, 2.0])
    assert (type(observation.sense_ns), observation.terminated) == (int, True)
    assert driver.apply(np.array([0.5])).dtype == np.float64


# What a driver gives


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda self: None, r"\.read gave nothing \(None\), expected an Observation"),  # noqa: ARG005
        (lambda self: np.zeros(2), r"\.read gave a ndarray, expected an Observation"),  # noqa: ARG005
        (seen(values=[0.0, 1.0]), r"\.read gave values as a list, expected a numpy array of 2"),
        (seen(values=np.zeros(3)), r"\.read gave values of shape \(3,\), expected \(2,\)"),
        (
            seen(values=np.zeros((1, 2))),
            r"\.read gave values of shape \(1, 2\), expected",
        ),
        (seen(values=np.array(["a", "b"])), r"\.read gave values of type <U1, expected 2 numbers"),
        (seen(values=np.array([None, 1])), r"\.read gave values of type object"),
        (seen(signals=[1.0]), r"\.read gave signals as a list, expected a numpy array"),
        (seen(signals=np.zeros((2, 2))), r"\.read gave signals of shape \(2, 2\)"),
        (seen(sense_ns=1.5), r"\.read gave sense_ns as a float, expected whole nanoseconds"),
        (seen(sense_ns=None), r"\.read gave sense_ns as nothing"),
        (seen(terminated="no"), r"\.read gave terminated as a str, expected True or False"),
    ],
)
def test_an_observation_of_a_wrong_kind_is_a_sentence_that_names_driver_and_method(read, says):
    with pytest.raises(DriverFault, match=NAMED + says):
        gives(read=read).read()


@pytest.mark.parametrize(
    ("applied", "says"),
    [
        (None, r"\.apply gave what was applied as nothing \(None\), expected a numpy array of 1"),
        ([0.5], r"\.apply gave what was applied as a list"),
        (np.zeros(2), r"\.apply gave what was applied of shape \(2,\).*its action_fields"),
        (np.float64(1.0), r"\.apply gave what was applied as a float64"),
    ],
)
def test_an_applied_action_of_a_wrong_kind_is_a_sentence(applied, says):
    with pytest.raises(DriverFault, match=NAMED + says):
        gives(apply=lambda self, action: applied).apply(np.ones(1))  # noqa: ARG005


def test_a_reward_of_a_wrong_kind_is_a_sentence():
    driver = gives(reward=lambda self, o, a, n: [1.0])  # noqa: ARG005
    with pytest.raises(DriverFault, match=NAMED + r"\.reward gave a list, expected a number"):
        driver.reward(np.zeros(2), np.zeros(1), np.zeros(2))


def test_a_reward_that_is_no_number_is_no_reward():
    worth = iter([1.0, float("nan"), float("inf"), 4.0])
    rewards = DriverRewards(gives(reward=lambda self, o, a, n: next(worth)))  # noqa: ARG005
    rewards.begin(1)
    for _ in range(4):
        rewards.follow(np.zeros(2), np.zeros(1), np.zeros(2))
    assert rewards.collect(lambda: False) == {0: 1.0, 3: 4.0}


def test_only_a_driver_that_measures_rewards_offers_them():
    assert isinstance(checked(PointMass(), "arm"), RewardSource)
    assert not isinstance(checked(Bare(), "arm"), RewardSource)


# What a driver raises


def test_what_pythons_library_raises_is_placed_where_the_driver_asked_for_it():
    class Wrong(PointMass):
        def read(self):
            return json.loads("{")  # raised in json/decoder.py

    driver = checked(Wrong(), "arm")
    driver.connect()
    with pytest.raises(DriverFault, match=r"JSONDecodeError: .*\(test_checked.py, line \d+\)"):
        driver.read()


@pytest.mark.parametrize("method", ["connect", "home", "read", "apply", "reward"])
def test_whatever_a_driver_raises_names_driver_method_and_place(method, caplog):
    def broken(self, *arguments):  # noqa: ARG001
        raise OSError(5, "Input/output error")

    kind = type("Wrong", (PointMass,), {method: broken, "__module__": __name__})
    driver = checked(kind(), "arm")
    says = NAMED + rf"\.{method} raised OSError: \[Errno 5\] .*\(test_checked.py, line \d+\)"
    arguments = {"home": (0,), "apply": (np.ones(1),), "reward": (np.ones(2),) * 3}
    with pytest.raises(DriverFault, match=says) as caught:  # noqa: PT012
        driver.connect()
        getattr(driver, method)(*arguments.get(method, ()))
    assert isinstance(caught.value.__cause__, OSError)
    driver.close()
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [DriverFault("the cable is out"), EmergencyStop("red button")])
def test_what_says_what_it_means_passes_as_it_is(error):
    def home(self, seed):  # noqa: ARG001
        raise error

    with pytest.raises(type(error)) as caught:
        gives(home=home).home(0)
    assert caught.value is error


# Before connect, and after close


class Bare:
    """A driver of which each method notes that it was called."""

    robot, period_s, time_scale = "bare", 0.02, 1.0
    observation_fields = action_fields = (FieldSpec(name="x", unit="", low=(-1.0,), high=(1.0,)),)

    def __init__(self) -> None:
        self.called: list[str] = []

    def connect(self):
        self.called.append("connect")

    def home(self, seed):  # noqa: ARG002
        self.called.append("home")

    def read(self):
        self.called.append("read")
        return Observation(np.zeros(1), time.monotonic_ns())

    def apply(self, action):
        self.called.append("apply")
        return action

    def hold(self):
        self.called.append("hold")

    def close(self):
        self.called.append("close")


def test_nothing_reaches_a_driver_that_is_not_connected():
    bare = Bare()
    driver = ours(bare, connect=False)
    driver.hold()
    driver.close()
    for use in (driver.read, lambda: driver.home(0), lambda: driver.apply(np.ones(1))):
        with pytest.raises(DriverFault, match=NAMED + r".* is not connected"):
            use()
    assert bare.called == []
    driver.connect()
    driver.hold()
    driver.close()
    driver.close()
    driver.hold()
    assert bare.called == ["connect", "hold", "close"]


def test_a_connect_that_fails_halfway_is_closed():
    bare = Bare()
    bare.home, bare.connect = None, lambda: bare.called.append("open") or 1 / 0
    with pytest.raises(DriverFault, match="has no method home"):
        checked(bare, "arm")
    bare.home = lambda seed: None  # noqa: ARG005
    driver = ours(bare, connect=False)
    with pytest.raises(DriverFault, match=r"\.connect raised ZeroDivisionError"):
        driver.connect()
    driver.close()
    assert bare.called == ["open", "close"]


# hold, and close


@dataclass
class CannotHold(PointMass):
    """Raises in the `hold`s whose numbers are `broken`."""

    broken: tuple[int, ...] = (1,)

    def hold(self) -> None:
        super().hold()
        if self.held in self.broken:
            raise OSError("the bus is busy")


def test_a_hold_that_raises_is_tried_again_and_latches(config, point_bundle, caplog):
    point_bundle()
    mass = CannotHold()
    summary = Daemon(config, mass, episodes=3).run()
    says = "CannotHold).hold raised OSError: the bus is busy"
    assert says in summary.fault
    assert "the robot may still move: use its own button" in summary.fault
    assert says in latched(config.latch)
    assert (summary.episodes, mass.held >= 2) == (1, True)
    assert "Traceback" in caplog.text


def test_a_hold_that_raises_after_the_last_episode_latches_too(config, point_bundle):
    mass = CannotHold()
    adaptation = Adaptation(
        config,
        mass,
        DriverRewards(mass),
        bundle=point_bundle(),
        context_episodes=1,
        episodes=0,
    )
    list(adaptation.run())
    assert "hold raised OSError" in adaptation.robot.fault
    assert "hold raised OSError" in latched(config.latch)


def test_a_hold_that_raises_hides_no_earlier_fault(config, point_bundle, caplog):
    point_bundle(push=100.0, horizon=100)
    limits = LimitsConfig(box={"velocity": BoxConfig(low=(-0.2,), high=(0.2,))})
    mass = CannotHold(broken=tuple(range(1, 20)))
    summary = Daemon(config.model_copy(update={"limits": limits}), mass, episodes=1).run()
    assert "observation velocity is" in summary.fault
    assert "observation velocity is" in latched(config.latch)
    assert "hold raised OSError" in caplog.text
    assert journalled(config)[0].footer.end_reason is EndReason.FAULT


def test_a_close_that_raises_is_held_and_latches(config, point_bundle):
    def close(self):  # noqa: ARG001
        raise OSError("no such device")

    point_bundle()
    mass = type("CannotClose", (PointMass,), {"close": close})()
    summary = Daemon(config, mass, episodes=1).run()
    assert summary.episodes == 1
    assert "CannotClose).close raised OSError: no such device" in summary.fault
    assert mass.held == 2
    assert "CannotClose).close raised OSError: no such device" in latched(config.latch)


# Taking a bundle


def test_a_read_that_raises_while_a_bundle_is_taken_blames_no_bundle(config, point_bundle, caplog):
    """Between two episodes: the second bundle's dry run asks for an observation."""
    reads = []

    def read(self):
        reads.append(1)
        if len(self.starts) == 1 and self.held:
            raise OSError("no answer")
        return PointMass.read(self)

    path = point_bundle()
    mass = type("Silent", (PointMass,), {"read": read})()

    def second(mass):
        if len(mass.commands) == 3:
            newer = point_bundle(path.with_name("newer.bundle"), push=0.5)
            assert newer.exists()

    mass.trouble = second
    with pytest.raises(DriverFault, match=r"Silent\)\.read raised OSError: no answer"):
        Daemon(config, mass, episodes=5).run()
    assert mass.held >= 1
    assert mass.closed == 1
    assert "refused" not in caplog.text
    assert len(journalled(config)) == 1


# What is offered


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hold": None}, r" has no method hold: a driver has connect, home, read, apply, hold"),
        ({"hold": None, "close": 3}, r" has no method hold, close"),
        ({"home": lambda self: None}, r"\.home\(\): expected home\(seed\)"),  # noqa: ARG005
        ({"apply": lambda self, a, b: a}, r"\.apply\(a, b\): expected apply\(action\)"),  # noqa: ARG005
        ({"reward": 3}, r"\.reward is 3, expected a method reward\(observation, action"),
        ({"robot": ""}, r"\.robot is '', expected the model's name"),
        ({"robot": property(lambda self: 1 / 0)}, r"\.robot raised ZeroDivisionError"),  # noqa: ARG005
        ({"period_s": lambda self: 0.1}, r"\.period_s is a method: make it a property"),  # noqa: ARG005
        ({"period_s": float("nan")}, r"\.period_s is nan, expected seconds above 0"),
        ({"time_scale": 0}, r"\.time_scale is 0, expected 1.0 for real hardware"),
        (
            {"action_fields": (ACTION[0], ACTION[0])},
            r"\.action_fields is .*not empty, each name once",
        ),
        ({"action_fields": ()}, r"\.action_fields is \(\), expected a tuple of FieldSpec"),
        ({"observation_fields": ("x",)}, r"\.observation_fields is \('x',\), expected a tuple"),
    ],
)
def test_what_is_no_driver_is_said_before_anything_is_called(changes, says):
    bare = type("Wrong", (Bare,), changes | {"__module__": __name__})()
    with pytest.raises(DriverFault, match=NAMED + says):
        checked(bare, "arm")
    assert bare.called == []
