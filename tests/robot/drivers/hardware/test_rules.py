"""The rules on a clock that the test moves: nothing moves a plant beyond its lease, ever."""

from __future__ import annotations

import math

import hardware_frames as frames  # servers/, on the path by conftest.py
import numpy as np
import pytest
from hardware_rules import Rules
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldtune.robot.drivers.hardware import frames as ours

MS = 1_000_000
LEASE = 60 * MS
LONGEST = 500 * MS


class Plant:
    """Moves from `apply` or `home` until `hold`. `trouble` names the calls that raise."""

    def __init__(self) -> None:
        self.moving, self.applied, self.held = False, [], 0
        self.trouble, self.home_calls = set(), 0
        self.senses = [0.0]

    def _may_raise(self, name: str) -> None:
        if name in self.trouble:
            raise OSError(f"{name} failed")

    def home(self, seed: int) -> None:  # noqa: ARG002
        self._may_raise("home")
        self.moving, self.home_calls = True, 0

    def homed(self) -> bool:
        self._may_raise("homed")
        self.home_calls += 1
        if self.home_calls > 5:
            self.moving = False
        return not self.moving

    def sense(self) -> frames.Sensed:
        self._may_raise("sense")
        return frames.Sensed(self.senses, 0)

    def apply(self, action):
        self.moving = True
        self._may_raise("apply")
        self.applied.append(list(action))
        return action if "width" not in self.trouble else [*action, 0.0]

    def hold(self) -> None:
        self.moving = False
        self.held += 1
        self._may_raise("hold")


class Client:
    """Rules, their plant, a clock, and frames that are right unless told otherwise."""

    def __init__(self, plant: Plant | None = None) -> None:
        self.now_ns, self.plant = 10**12, plant or Plant()
        number = frames.Field("x", "", (-1.0,), (1.0,))
        description = frames.Description("r", 0.02, LONGEST / 1e9, (number,), (number,))
        self.rules = Rules(self.plant, description, lambda: self.now_ns)
        self.session, self.sequence, self.observed = 0, 0, 0
        self.session = ours.read_description(self.ask(ours.Ask.HELLO, session=9).body)[0]

    def ask(self, ask: ours.Ask, body: bytes = b"", **changes: int) -> ours.Reply:
        self.sequence += 1
        values = {
            "session": self.session,
            "sequence": self.sequence,
            "answers": self.observed,
            "lease_ns": LEASE,
        }
        frame = ours.write_request(ask, *(values | changes).values(), body)
        reply = ours.read_reply(self.rules.handle(frame))
        if reply.say is ours.Say.OBSERVATION:
            self.observed = reply.sequence
        return reply

    def sense(self) -> ours.Reply:
        return self.ask(ours.Ask.SENSE)

    def home(self) -> None:
        self.sense()
        assert self.ask(ours.Ask.HOME, ours.write_seed(1)).say is ours.Say.HOMING
        while self.rules.state is frames.State.HOMING:
            self.sense()

    def command(self, value: float = 0.5, **changes: int) -> ours.Reply:
        return self.ask(ours.Ask.COMMAND, ours.write_action(np.array([value])), **changes)

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        self.rules.watch()


@pytest.fixture
def client() -> Client:
    return Client()


def code(reply: ours.Reply) -> ours.Code:
    assert reply.say is ours.Say.REFUSED, reply
    return ours.Code(ours.read_refusal(reply.body)[0])


def test_a_lease_counts_from_when_the_observation_left_not_from_when_the_command_came(client):
    client.home()
    client.sense()
    client.wait(LEASE - MS)
    assert client.command().say is ours.Say.APPLIED
    assert client.plant.moving
    client.wait(MS)
    assert not client.plant.moving
    assert client.rules.state is frames.State.RESTING


def test_a_command_that_comes_when_its_lease_is_over_is_refused(client):
    client.home()
    client.sense()
    client.wait(LEASE)
    assert code(client.command()) is ours.Code.LATE
    assert client.plant.applied == []
    assert client.rules.state is frames.State.READY


def test_each_command_that_answers_something_new_goes_on(client):
    client.home()
    for _ in range(20):
        client.sense()
        client.wait(20 * MS)
        assert client.command().say is ours.Say.APPLIED
    client.wait(LEASE)
    assert not client.plant.moving


def test_a_command_again_in_answer_to_the_same_observation_feeds_nothing(client):
    client.home()
    client.sense()
    for _ in range(5):
        client.wait(10 * MS)
        assert client.command().say is ours.Say.APPLIED
    client.wait(10 * MS)
    assert not client.plant.moving


def test_looking_feeds_no_command(client):
    client.home()
    client.sense()
    client.command()
    for _ in range(5):
        client.wait(10 * MS)
        client.sense()  # it even says which observation it follows
    client.wait(10 * MS)
    assert not client.plant.moving


def test_a_refused_command_feeds_nothing(client):
    client.home()
    client.sense()
    client.command()
    client.wait(30 * MS)
    client.sense()
    assert code(client.command(math.nan)) is ours.Code.VALUE
    assert code(client.command(session=5)) is ours.Code.SESSION
    assert code(client.command(sequence=1)) is ours.Code.SEQUENCE
    client.wait(30 * MS)
    assert not client.plant.moving


def test_a_server_that_was_busy_refuses_what_waited_too_long(client):
    """The time counts at which a frame is looked at, not that at which it arrived."""
    client.home()
    client.sense()
    client.now_ns += LEASE  # nobody called watch in the meantime
    assert code(client.command()) is ours.Code.LATE


@pytest.mark.parametrize("trouble", ["home", "homed", "sense", "apply", "width"])
def test_hardware_that_fails_is_brought_to_rest_and_the_client_is_told(client, trouble):
    if trouble in ("home", "homed"):
        client.sense()
        client.plant.trouble = {trouble}
        reply = client.ask(ours.Ask.HOME, ours.write_seed(1))
        client.rules.watch()
    else:
        client.home()
        client.sense()
        client.command()
        client.plant.trouble = {trouble}
        reply = client.sense() if trouble == "sense" else client.command()
    if trouble != "homed":
        assert code(reply) is ours.Code.HARDWARE
    assert client.rules.state is frames.State.RESTING
    assert not client.plant.moving
    client.plant.trouble = set()
    client.sense()
    assert code(client.command()) is ours.Code.STATE


@pytest.mark.parametrize("answer", ["no", "", None, 1, 0.0])
def test_what_is_neither_true_nor_false_is_not_taken_for_being_home(client, answer):
    client.sense()
    client.plant.homed = lambda: answer
    client.ask(ours.Ask.HOME, ours.write_seed(1))
    client.rules.watch()
    assert client.rules.state is frames.State.RESTING
    assert not client.plant.moving


def test_numpys_truth_is_one(client):
    client.sense()
    client.plant.homed = lambda: np.bool_(True)
    client.ask(ours.Ask.HOME, ours.write_seed(1))
    client.rules.watch()
    assert client.rules.state is frames.State.READY


def test_a_plant_that_cannot_hold_is_held_again_until_it_does_and_moved_no_more(client):
    client.home()
    client.sense()
    client.command()
    client.plant.trouble = {"hold"}
    client.wait(LEASE + MS)
    held = client.plant.held
    for _ in range(3):
        client.wait(MS)
    assert client.plant.held == held + 3
    assert code(client.ask(ours.Ask.HOLD)) is ours.Code.HARDWARE
    assert client.sense().say is ours.Say.OBSERVATION
    reply = client.ask(ours.Ask.HOME, ours.write_seed(1))
    assert ours.read_refusal(reply.body) == (
        ours.Code.HARDWARE,
        "the plant cannot hold: OSError: hold failed",
    )
    client.plant.trouble = set()
    client.wait(MS)
    held = client.plant.held
    client.wait(MS)
    assert client.plant.held == held
    assert client.ask(ours.Ask.HOLD).say is ours.Say.HELD
    client.home()


@pytest.mark.parametrize("values", [[], [1.0, 2.0], ["x"], [None]])
def test_a_plant_that_senses_something_else_than_described_is_at_rest(client, values):
    client.plant.senses = values
    assert code(client.sense()) is ours.Code.HARDWARE


def test_a_repeated_hello_of_the_same_client_changes_nothing(client):
    client.home()
    client.sense()
    client.command()
    session, _ = ours.read_description(client.ask(ours.Ask.HELLO, session=9).body)
    assert session == client.session
    assert client.plant.moving


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 3 * LEASE)),
    st.tuples(st.sampled_from(["sense", "home", "command", "hold", "hello"]), st.integers(0, 3)),
    st.tuples(st.just("noise"), st.binary(max_size=80)),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_whatever_is_asked_a_plant_moves_only_within_the_lease_of_what_was_observed(steps):
    """A step's number spoils a request: 1 an old answer, 2 an old sequence, 3 another session."""
    client, started = Client(), False
    client.home()
    observed_ns = client.now_ns
    for step, value in steps:
        if step == "wait":
            client.wait(value)
        elif step == "noise":
            client.rules.handle(value)
        else:
            spoilt = [{}, {"answers": 0}, {"sequence": 1}, {"session": 3}][value]
            body = {"home": ours.write_seed(1), "command": ours.write_action(np.ones(1))}
            reply = client.ask(ours.Ask[step.upper()], body.get(step, b""), **spoilt)
            if reply.say is ours.Say.OBSERVATION:
                observed_ns = client.now_ns
            if step == "hello" and reply.say is ours.Say.DESCRIPTION:
                client.session = ours.read_description(reply.body)[0]
                client.observed = 0
            started = started or reply.say in (ours.Say.APPLIED, ours.Say.HOMING)
        client.rules.watch()
        if client.plant.moving:
            assert started
            assert client.now_ns < observed_ns + LEASE


class GuidedPlant(Plant):
    """One that a person may move, and command."""

    free = False

    def release(self) -> None:
        self._may_raise("release")
        self.free = True

    def guided(self):
        return [0.25]

    def commanded(self):
        return [0.75] if "width" not in self.trouble else []

    def hold(self) -> None:
        self.free = False
        super().hold()


@pytest.fixture
def guided() -> Client:
    return Client(GuidedPlant())


def by_hand(client: Client) -> float:
    reply = client.ask(ours.Ask.PERSON)
    assert reply.say is ours.Say.DONE_BY_HAND
    return float(ours.read_numbers(reply.body, 1)[0])


def test_in_a_persons_hands_while_it_is_looked_at_and_held_when_nobody_does(guided):
    guided.sense()
    assert by_hand(guided) == 0.75
    assert guided.ask(ours.Ask.RELEASE).say is ours.Say.RELEASED
    for _ in range(10):
        guided.wait(LEASE // 2 - MS)  # a SENSE counts from the observation before
        assert guided.plant.free
        guided.sense()
        assert by_hand(guided) == 0.25
    guided.wait(LEASE)
    assert not guided.plant.free
    assert guided.rules.state is frames.State.RESTING


def test_what_a_person_holds_is_moved_by_nothing_but_them(guided):
    guided.sense()
    guided.ask(ours.Ask.RELEASE)
    guided.sense()
    assert code(guided.command()) is ours.Code.STATE
    assert code(guided.ask(ours.Ask.HOME, ours.write_seed(1))) is ours.Code.STATE
    assert code(guided.ask(ours.Ask.RELEASE)) is ours.Code.STATE
    assert code(guided.ask(ours.Ask.HELLO, session=77)) is ours.Code.SESSION
    assert guided.plant.free
    assert (guided.plant.moving, guided.plant.applied) == (False, [])
    assert guided.ask(ours.Ask.HOLD).say is ours.Say.HELD
    assert not guided.plant.free
    assert code(guided.command()) is ours.Code.STATE  # only homing leads to commands


def test_a_moving_robot_is_not_released_nor_in_answer_to_an_old_observation(guided):
    assert code(guided.ask(ours.Ask.RELEASE)) is ours.Code.LATE
    guided.home()
    guided.sense()
    guided.command()
    assert code(guided.ask(ours.Ask.RELEASE)) is ours.Code.STATE
    assert not guided.plant.free


def test_a_plant_that_fails_in_a_persons_hands_is_held(guided):
    guided.plant.trouble = {"release", "width"}
    guided.sense()
    assert code(guided.ask(ours.Ask.RELEASE)) is ours.Code.HARDWARE
    assert guided.rules.state is frames.State.RESTING
    assert guided.plant.held == 2  # hello's, and this
    assert code(guided.ask(ours.Ask.PERSON)) is ours.Code.HARDWARE


def test_hardware_without_hands_says_so_and_goes_on_as_it_was(client):
    client.home()
    client.sense()
    client.command()
    assert code(client.ask(ours.Ask.RELEASE)) is ours.Code.UNOFFERED
    assert code(client.ask(ours.Ask.PERSON)) is ours.Code.UNOFFERED
    assert client.plant.moving
    assert client.rules.state is frames.State.DRIVEN
