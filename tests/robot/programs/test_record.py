"""Recording: what people and scripts do is in the journal; a guided robot is told nothing."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.actions.program import ProgramActions
from fieldtune.robot.actions.script import ScriptedActions
from fieldtune.robot.actions.sources import ActionsError
from fieldtune.robot.actions.teleoperation import Teleoperation
from fieldtune.robot.config import LimitsConfig
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import DriverFault, Observation
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.episodes.episode import EndReason, Mode, ToldTask
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.programs.record import Recording
from fieldtune.robot.rewards.driver import DriverRewards
from fieldtune.robot.safety.latch import latched
from tests.robot.conftest import PointMass


@dataclass
class HandHeld(PointMass):
    """The mass in a hand, which pushes with `pushes`, one a `read`; notes what it is told."""

    pushes: list[float] = field(default_factory=lambda: [0.5, -1.0, 1.5, 0.25] * 10)
    told: list[str] = field(default_factory=list)
    free: bool = False
    reads: int = 0
    stop_at: int | None = None
    pushed: float = math.nan

    def home(self, seed: int) -> None:
        self.told.append("home")
        super().home(seed)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self.told.append("apply")
        return super().apply(action)

    def hold(self) -> None:
        self.told.append("hold")
        self.free = False
        super().hold()

    def release(self) -> None:
        self.told.append("release")
        self.free = True

    def read(self) -> Observation:
        self.reads += 1
        if self.reads == self.stop_at:
            raise DriverFault("the cable is out")
        if self.free:
            self.pushed = self.pushes.pop(0)
            position, velocity = self.state
            t, a = self.period_s, self.pushed
            self.state = np.array([position + velocity * t + a * t * t / 2, velocity + a * t])
        return super().read()

    def guided_action(self) -> np.ndarray:
        return np.array([self.pushed])

    def teleoperated_action(self) -> np.ndarray:
        return np.array([self.pushes.pop(0)])


@pytest.fixture
def hand() -> HandHeld:
    return HandHeld()


def recorded(config) -> list:
    with Journal.read(config.journal) as journal:
        numbers = [entry.number for entry in journal.entries()]
        return [(journal.episode(number), journal.rewards(number)) for number in numbers]


def test_a_guided_robot_is_told_nothing_and_what_the_hand_did_is_recorded(config, hand):
    told = ToldTask("left", [0.6])
    recording = Recording(
        config, hand, None, steps=3, episodes=2, rewards=DriverRewards(hand), task=told
    )
    done = list(recording.run())
    assert set(hand.told) == {"release", "hold"}
    assert hand.commands == []
    assert hand.told.count("release") == 2
    assert [(one.steps, one.rewarded, one.reason) for one in done] == [
        (3, 3, EndReason.HORIZON)
    ] * 2
    for episode, rewards in recorded(config):
        header = episode.header
        assert (header.mode, header.bundle_id, header.task) == (Mode.GUIDED, "", told)
        assert header.by == "a person, by hand"
        seen = [step.observation for step in episode.steps] + [episode.footer.final_observation]
        for step, (before, after) in zip(episode.steps, pairwise(seen), strict=True):
            assert after[1] - before[1] == pytest.approx(0.05 * step.applied[0])
            assert rewards[step.index] == hand.reward(None, None, after)
            assert (step.requested, step.z, step.reason) == (step.applied, [], "")


def test_a_hand_that_is_faster_than_the_robot_is_said_and_marked(config, hand):
    hand.pushes[2] = 2.5  # newtons, of which an action may have 2
    (done,) = Recording(config, hand, None, steps=3).run()
    assert done.beyond == 1
    ((episode, _),) = recorded(config)
    assert [step.reason for step in episode.steps] == ["", "beyond force", ""]


def test_what_goes_wrong_in_a_persons_hands_ends_at_rest_and_latched(config, hand):
    hand.stop_at = 4  # the second step's
    (done,) = Recording(config, hand, None, steps=5, episodes=3).run()
    assert (done.reason, done.steps) == (EndReason.FAULT, 1)
    assert latched(config.latch) == "the cable is out"
    assert hand.told[-1] == "hold"
    assert not {"home", "apply"} & set(hand.told)
    ((episode, _),) = recorded(config)
    assert episode.footer.final_observation[1] == pytest.approx(
        episode.steps[0].observation[1] + 0.05 * episode.steps[0].applied[0]
    )


def test_a_stop_while_a_person_gets_ready_holds_and_records_nothing(config, hand):
    recording = Recording(config, hand, None, steps=5, pause_s=60.0)
    hand.pushes = [0.0] * 100_000
    began = time.monotonic()
    reads = hand.read

    def read():
        if hand.free:
            recording.robot.request_stop("SIGINT")
        return reads()

    hand.read = read
    assert list(recording.run()) == []
    assert time.monotonic() - began < 30.0
    assert hand.told[-1] == "hold"
    assert recording.robot.fault == ""
    assert recorded(config) == []


def test_a_driver_without_hands_is_a_sentence_and_no_fault(config, mass):
    with pytest.raises(
        NotOffered, match=r"'mass' cannot let a person guide.*release and guided_act"
    ):
        Recording(config, mass, None, steps=3)
    with pytest.raises(NotOffered, match="teleoperated_action"):
        Teleoperation(mass)

    class LaterFound(HandHeld):
        def release(self) -> None:
            raise NotOffered("this arm's firmware knows no hand-guiding")

    with pytest.raises(NotOffered, match="firmware"):
        list(Recording(config, LaterFound(), None, steps=3).run())
    assert latched(config.latch) is None


def test_what_a_person_commands_goes_through_the_limits(config, hand):
    config = config.model_copy(update={"limits": LimitsConfig(action_range={"force": (-1.0, 1.0)})})
    driver = checked(hand, "test")
    hand.pushes = [0.0, 0.5, 1.5, -0.5]  # the first is asked for before anything moves
    (done,) = Recording(config, driver, Teleoperation(driver), steps=3).run()
    assert done.reason is EndReason.HORIZON
    assert hand.commands == [0.5, 1.0, -0.5]
    ((episode, rewards),) = recorded(config)
    assert (episode.header.mode, rewards) == (Mode.TELEOPERATED, {})
    assert [step.requested for step in episode.steps] == [[0.5], [1.5], [-0.5]]
    assert [step.reason for step in episode.steps] == ["", "range force", ""]


SCRIPT = """
class Push:
    def __init__(self, observation_fields, action_fields, period_s):
        assert [field.name for field in action_fields] == ["force"] and period_s == 0.05
    def begin(self, seed):
        self.left = [0.5, 1.0, "x"]
    def act(self, observation):
        return [self.left.pop(0)]
"""


def test_a_packages_script_acts_and_its_mistakes_end_at_rest(config, mass, install):
    install("my-push", "[fieldtune.scripts]\npush = my_push:Push\n", my_push=SCRIPT)
    done = list(Recording(config, mass, ScriptedActions("push", mass), steps=2, episodes=2).run())
    assert [one.reason for one in done] == [EndReason.HORIZON] * 2
    assert mass.commands == [0.5, 1.0] * 2
    assert len(mass.starts) == 2
    episode, _ = recorded(config)[0]
    assert (episode.header.mode, episode.header.task) == (Mode.SCRIPTED, msgspec.UNSET)
    assert episode.header.by == "script push of my-push 1.0"

    (done,) = Recording(config, mass, ScriptedActions("push", mass), steps=3).run()
    assert (done.reason, done.steps) == (EndReason.FAULT, 2)
    assert "gave \"['x']\" as an action, expected 1 numbers" in latched(config.latch)
    with pytest.raises(ActionsError, match="no such script; did you mean 'push'"):
        ScriptedActions("pusch", mass)


PROGRAM = """
import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if "begins" in told:
        print(json.dumps("ready"), flush=True)
    elif told["step"] == 2:
        print("tired", flush=True)
    else:
        print(json.dumps([0.25 - told["observation"][1]]), flush=True)
"""


def test_a_program_acts_by_what_it_is_told(config, mass):
    command = [sys.executable, "-c", PROGRAM]
    actions = ProgramActions(command, mass.period_s, mass.time_scale)
    done = list(Recording(config, mass, actions, steps=2, episodes=2).run())
    assert [one.reason for one in done] == [EndReason.HORIZON] * 2
    for episode, _ in recorded(config):
        for step in episode.steps:
            assert step.applied == [pytest.approx(0.25 - step.observation[1])]
    actions = ProgramActions(command, mass.period_s, mass.time_scale)
    (done,) = Recording(config, mass, actions, steps=3).run()
    assert (done.reason, done.steps) == (EndReason.FAULT, 2)
    assert "printed no action: b'tired'" in latched(config.latch)


def test_a_program_that_is_late_or_ends_is_told():
    sleeper = (
        "import sys, time; sys.stdin.readline(); print('\"ready\"', flush=True); time.sleep(99)"
    )
    actions = ProgramActions([sys.executable, "-c", sleeper], 0.05, 1.0)
    actions.open()
    try:
        actions.begin(0, lambda: "")
        with pytest.raises(ActionsError, match=r"printed nothing for 0\.025 s"):
            actions.act(np.zeros(2))
    finally:
        actions.close()
    gone = ProgramActions([sys.executable, "-c", "raise SystemExit(3)"], 0.05, 1.0)
    gone.open()
    with pytest.raises(
        ActionsError, match=r"ended with status 3|does not read|printed nothing more"
    ):
        gone.begin(0, lambda: "")
    gone.close()
    with pytest.raises(ActionsError, match="--program cannot be started"):
        ProgramActions(["./no-such-program"], 0.05, 1.0).open()


def test_waves_need_bounds_and_stay_within_half_of_them(config, mass):
    (done,) = Recording(config, mass, ScriptedActions("waves", mass), steps=50).run()
    assert done.reason is EndReason.HORIZON
    assert 0.5 < np.ptp(mass.commands) <= 2.0
    assert max(map(abs, mass.commands)) <= 1.0
    unbounded = (FieldSpec(name="force", unit="N", low=(-math.inf,), high=(math.inf,)),)
    with pytest.raises(Exception, match="some have none here"):
        ScriptedActions("waves", PointMass(action_fields=unbounded))
