"""The rules that every hardware server keeps, held against the examples in both languages.

Real processes and real sockets; the client keeps no rule.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fieldtune.robot.curve_keys import new_pair, write_secret
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.frames import (
    Ask,
    Code,
    Say,
    State,
    read_numbers,
    read_refusal,
    write_action,
    write_request,
    write_seed,
)
from tests.robot.drivers.conftest import SERVERS

FUZZED = int(os.environ.get("FIELDTUNE_FUZZED_FRAMES", "4000"))


def refusal(reply) -> tuple[Code, str]:
    assert reply.say is Say.REFUSED, reply
    code, reason = read_refusal(reply.body)
    return Code(code), reason


def test_both_languages_describe_the_same_robot(serve, joints_in_cpp, described):
    script = Path(__file__).parents[4] / "servers" / "serve_joints.py"
    first, second = serve(joints_in_cpp), serve(sys.executable, script)
    assert described(first) == described(second)


def test_nothing_is_commanded_before_it_is_homed(joints, raw):
    client = raw(joints)
    code, reason = refusal(client.command(0.5, 0.5))
    assert code is Code.STATE
    assert "resting" in reason
    assert client.sense()[1].values.tolist() == [0.0] * 4


def test_homing_ends_at_the_start_that_the_seed_picks(joints, raw):
    client = raw(joints)
    client.home(seed=0x1980)
    _, sensed = client.sense()
    assert sensed.state is State.READY
    np.testing.assert_allclose(sensed.values, [0.2 * 0x80 / 255, 0.2 * 0x19 / 255, 0, 0], atol=1e-9)


def test_a_command_acts_and_the_answer_is_what_was_sent(joints, raw):
    client = raw(joints)
    client.home()
    reply = client.command(0.5, -0.25)
    assert reply.say is Say.APPLIED
    assert read_numbers(reply.body, 2).tolist() == [0.5, -0.25]
    _, sensed = client.sense()
    assert (sensed.state, sensed.values[2:].tolist()) == (State.DRIVEN, [0.5, -0.25])
    assert sensed.values[0] > 0 > sensed.values[1]


def test_what_the_hardware_cannot_do_is_told_as_applied(joints, raw):
    client = raw(joints)
    client.home()
    while read_numbers((reply := client.command(1.0, 0.0)).body, 2)[0] != 0.0:
        assert reply.say is Say.APPLIED
        time.sleep(0.02)
    assert client.sense()[1].values[0] == 2.9


def test_a_silent_client_is_stopped_when_its_lease_runs_out(joints, raw):
    client = raw(joints)
    client.home()
    assert client.command(1.0, 1.0).say is Say.APPLIED
    time.sleep(0.6)
    rested = client.rested()
    assert rested.values[2:].tolist() == [0.0, 0.0]
    assert 0 < rested.values[0] < 2.9
    assert client.sense()[1].values.tolist() == rested.values.tolist()
    code, reason = refusal(client.command(1.0, 1.0))
    assert code is Code.STATE
    assert "the lease ran out while driven" in reason
    assert "the lease ran out while driven" in joints.log


def test_looking_does_not_feed_a_command(joints, raw):
    client = raw(joints)
    client.home()
    assert client.command(0.1, 0.1, lease_ns=100_000_000).say is Say.APPLIED
    assert client.rested().values[2:].tolist() == [0.0, 0.0]  # it senses all the while


def test_no_lease_is_longer_than_the_server_allows(joints, raw):
    client = raw(joints)
    client.home()
    assert client.command(0.01, 0.0, lease_ns=2**64 - 1).say is Say.APPLIED
    assert client.rested().values[0] < 2.9


def test_a_lease_of_nothing_moves_nothing(joints, raw):
    client = raw(joints)
    client.home()
    assert refusal(client.command(1.0, 1.0, lease_ns=0))[0] is Code.LATE
    assert client.sense()[1].values.tolist() == [0.0] * 4


def test_homing_goes_on_only_while_somebody_watches_it(joints, raw):
    client = raw(joints)
    answers, _ = client.sense()
    body = write_seed(0xFFFF)
    assert client.ask(Ask.HOME, body, answers=answers, lease_ns=50_000_000).say is Say.HOMING
    time.sleep(0.2)
    rested = client.rested()
    assert 0 < rested.values[0] < 0.2
    assert "the lease ran out while homing" in joints.log


def test_a_hold_stops_the_robot_and_only_homing_goes_on(joints, raw):
    client = raw(joints)
    client.home()
    client.command(1.0, 1.0)
    assert client.ask(Ask.HOLD).say is Say.HELD
    assert client.sense()[1].state is State.RESTING
    assert refusal(client.command(1.0, 1.0)) == (
        Code.STATE,
        "the robot is resting: asked to hold",
    )
    client.home()
    assert client.command(1.0, 1.0).say is Say.APPLIED


def test_a_late_command_is_refused(joints, raw):
    client = raw(joints)
    client.home()
    answers, _ = client.sense()
    late = client.frame(Ask.COMMAND, write_action(np.ones(2)), answers=answers, lease_ns=10**8)
    time.sleep(0.15)  # as in a queue of the network
    code, reason = refusal(client.send(late))
    assert code is Code.LATE
    assert "longer than its lease" in reason
    assert client.sense()[1].values.tolist() == [0.0] * 4


def test_a_command_that_answers_an_older_observation_is_refused(joints, raw):
    client = raw(joints)
    client.home()
    older, _ = client.sense()
    latest, _ = client.sense()
    assert refusal(client.command(1.0, 1.0, answers=older))[0] is Code.LATE
    assert refusal(client.command(1.0, 1.0, answers=0))[0] is Code.LATE
    assert refusal(client.command(1.0, 1.0, answers=latest + 1000))[0] is Code.LATE
    assert client.sense()[1].values.tolist() == [0.0] * 4


def test_a_late_homing_is_refused(joints, raw):
    client = raw(joints)
    answers, _ = client.sense()
    client.sense()
    assert refusal(client.ask(Ask.HOME, write_seed(0xFFFF), answers=answers))[0] is Code.LATE
    assert client.sense()[1].state is State.RESTING


def test_duplicates_and_reordered_frames_are_refused(joints, raw):
    client = raw(joints)
    client.home()
    answers, _ = client.sense()
    first, second = (
        client.frame(Ask.COMMAND, write_action(np.full(2, speed)), answers=answers)
        for speed in (0.25, 0.5)
    )
    assert client.send(second).say is Say.APPLIED
    for old in (first, second, second):
        assert refusal(client.send(old))[0] is Code.SEQUENCE
    assert client.sense()[1].values[2:].tolist() == [0.5, 0.5]


def test_another_session_cannot_command(joints, raw):
    owner, other = raw(joints), raw(joints, hello=False)
    owner.home()
    assert owner.command(0.1, 0.1).say is Say.APPLIED
    for session, ask in itertools.product((0, 1, owner.session ^ 1), (Ask.COMMAND, Ask.HOLD)):
        body = write_action(np.ones(2)) if ask is Ask.COMMAND else b""
        reply = other.ask(ask, body, session=session, sequence=1000, answers=owner.sequence)
        assert refusal(reply)[0] is Code.SESSION
    code, reason = refusal(other.ask(Ask.HELLO, session=99))
    assert code is Code.SESSION
    assert "another session moves the robot" in reason
    assert owner.command(0.2, 0.2).say is Say.APPLIED


def test_a_new_session_takes_a_robot_at_rest_and_the_old_one_is_out_for_good(joints, raw):
    old, new = raw(joints), raw(joints, hello=False)
    old.home()
    old.command(1.0, 1.0)
    while new.hello(nonce=7).say is not Say.DESCRIPTION:
        time.sleep(0.02)
    rested = new.sense()[1]
    assert (rested.state, rested.values[2:].tolist()) == (State.RESTING, [0.0, 0.0])
    for ask, body in ((Ask.SENSE, b""), (Ask.HOME, write_seed(1)), (Ask.HOLD, b"")):
        assert refusal(old.ask(ask, body, answers=1))[0] is Code.SESSION
    new.home()
    assert new.command(0.1, 0.1).say is Say.APPLIED


def test_a_recorded_conversation_moves_nothing_when_it_is_played_again(joints, raw):
    client, sent = raw(joints, hello=False), []
    client.socket, socket = _Recorded(client.socket, sent), client.socket
    client.hello()
    client.home(seed=0xFFFF)
    client.command(1.0, 1.0)
    client.socket = socket
    client.ask(Ask.HOLD)
    before = client.rested().values.tolist()
    thief = raw(joints, hello=False)
    for frame in [*sent, *sent]:
        thief.send(frame)
    thief.hello(nonce=5)
    assert thief.sense()[1].values.tolist() == before


class _Recorded:
    def __init__(self, socket, sent: list[bytes]) -> None:
        self._socket, self._sent = socket, sent

    def send(self, frame: bytes) -> None:
        self._sent.append(frame)
        self._socket.send(frame)

    def __getattr__(self, name: str):
        return getattr(self._socket, name)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.0000001, -5.0])
def test_an_action_that_is_none_or_out_of_bounds_is_refused(joints, raw, bad):
    client = raw(joints)
    client.home()
    code, reason = refusal(client.command(0.0, bad))
    assert code is Code.VALUE
    assert "action component 1 is" in reason
    assert client.sense()[1].values.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (write_request(Ask.SENSE, 1, 1, 0, 0)[:24], Code.MALFORMED),
        (write_request(Ask.SENSE, 1, 1, 0, 0, b"x"), Code.MALFORMED),
        (write_request(Ask.COMMAND, 1, 1, 0, 0, b"\0" * 8), Code.MALFORMED),
        (write_request(9, 1, 1, 0, 0), Code.MALFORMED),
        (b"FTHW\2\0" + write_request(Ask.SENSE, 1, 1, 0, 0)[6:], Code.VERSION),
    ],
)
def test_a_frame_that_is_not_understood_is_refused_by_name(joints, raw, frame, code):
    assert refusal(raw(joints).send(frame))[0] is code


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """A frame with a few bytes changed, cut, doubled, or nothing but noise."""
    data = bytearray(frame)
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(120))
    if kind == 1:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 2:
        return bytes(data + chance.randbytes(chance.randrange(1, 40)))
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def test_random_and_mutated_frames_neither_crash_a_server_nor_move_its_robot(joints, raw):
    """Half of the frames have a session that is right; none answers what was really observed."""
    chance, client, fuzzer = random.Random(4), raw(joints), raw(joints, hello=False)
    for number in range(FUZZED):
        if number % 250 == 0:  # a mutation may be a sound hello, and that one takes over
            client.hello(nonce=1000 + number)
            never, lease, go = 2**63 + 1, 10**9, write_action(np.ones(2))
            good = [
                write_request(Ask.SENSE, client.session, 5, 0, 0),
                write_request(Ask.HOME, client.session, 5, never, lease, write_seed(255)),
                write_request(Ask.COMMAND, client.session, 5, never, lease, go),
            ]
        frame = bytearray(mutated(chance.choice(good), chance))
        if number % 2 and len(frame) >= 16:
            frame[8:16] = client.session.to_bytes(8, "little")
        parts = [bytes(frame)] if number % 50 else [bytes(frame), b"another part"]
        fuzzer.socket.send_multipart(parts)
        while fuzzer.socket.poll(0):
            fuzzer.socket.recv()
    fuzzer.socket.send(fuzzer.frame(Ask.SENSE, session=1, sequence=4))  # after all the others
    while (reply := fuzzer.receive()).sequence != 4 or reply.session != 1:
        pass
    assert joints.process.poll() is None
    client.hello(nonce=1)
    rested = client.sense()[1]
    assert (rested.state, rested.values.tolist()) == (State.RESTING, [0.0] * 4)
    client.home()
    assert client.command(0.5, 0.5).say is Say.APPLIED
    assert joints.log.count("\n") < max(40, FUZZED // 1000)  # rationed, whatever is sent


def test_a_huge_frame_is_cut_off_and_others_go_on(joints, raw):
    client, big = raw(joints), raw(joints, hello=False)
    big.socket.send(b"FTHW" + bytes(1_000_000))
    assert client.sense()[1].state is State.RESTING
    assert joints.process.poll() is None


def test_the_robot_is_at_rest_before_a_server_that_is_told_to_end_has_ended(joints, raw):
    client = raw(joints)
    client.home()
    client.command(1.0, 1.0)
    joints.process.send_signal(signal.SIGTERM)
    assert joints.process.wait(20) == 0
    assert "at rest: the server ends" in joints.log


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--address", "tcp://0.0.0.0:5790"], "not on the loopback interface"),
        (["--address", "tcp://*:5790"], "not on the loopback interface"),
        (["--address", "udp://127.0.0.1:5790"], "not on the loopback interface"),
        (["--allow", "0" * 64], "keys are half given"),
        (["--key", "/nowhere", "--allow", "0" * 64], "cannot be read"),
        (["--address", "ipc:///tmp/x", "--key", "k", "--allow", "0" * 64], "encrypts tcp"),
    ],
)
def test_an_open_door_is_refused_before_anything_listens(joints_command, arguments, says):
    done = subprocess.run(
        [*joints_command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert says in done.stderr
    assert "serving" not in done.stdout


def test_only_allowed_keys_get_an_answer(joints_command, serve, raw, driver, tmp_path):
    server_key, mine, strangers = new_pair(), new_pair(), new_pair()
    write_secret(tmp_path / "server.key", server_key)
    write_secret(tmp_path / "robot.key", mine)
    write_secret(tmp_path / "stranger.key", strangers)
    server = serve(*joints_command, "--key", tmp_path / "server.key", "--allow", mine.public)
    for unknown in (
        {},
        {"server_key": server_key.public, "secret": tmp_path / "stranger.key"},
        {"server_key": strangers.public, "secret": tmp_path / "robot.key"},
    ):
        with pytest.raises(DriverFault, match="no hardware server answers within"):
            driver(server, connect_timeout_s=0.3, **unknown)
    nobody = raw(server, hello=False)
    nobody.socket.send(nobody.frame(Ask.HELLO))
    assert not nobody.socket.poll(200)
    allowed = driver(server, server_key=server_key.public, secret=tmp_path / "robot.key")
    allowed.home(0)
    assert allowed.apply(np.zeros(2)).tolist() == [0.0, 0.0]
    assert "without an allowed key was turned away" in server.log


CANNOT_HOLD = {
    "python": f"""
import sys
sys.path.insert(0, {str(SERVERS)!r})
from hardware_server import parser, serve
from serve_joints import DESCRIPTION, Joints

class CannotHold(Joints):
    left = 400

    def hold(self):
        if self._velocity[0] and self.left:
            self.left -= 1
            raise OSError("the bus is busy")
        super().hold()

serve(CannotHold(), DESCRIPTION, parser("x").parse_args())
""",
    "cpp": """
#define main joints_main
#include "serve_joints.cpp"
#undef main

struct CannotHold : Joints {
  int left = 400;
  bool moving = false;
  std::vector<double> apply(const std::vector<double>& action) override {
    moving = true;
    return Joints::apply(action);
  }
  void hold() override {
    if (moving && left-- > 0) throw std::runtime_error("the bus is busy");
    moving = false;
    Joints::hold();
  }
};

int main(int, char** arguments) {
  CannotHold joints;
  hardware::Server(joints, describe(), arguments[2], {}).run(stopping);
}
""",
}


@pytest.fixture(params=["python", pytest.param("cpp", marks=pytest.mark.slow)])
def cannot_hold(request, serve, tmp_path):
    """The two joints, whose `hold` fails for the best part of a second once they have moved."""
    if request.param == "python":
        return serve(sys.executable, "-c", CANNOT_HOLD["python"])
    request.getfixturevalue("joints_in_cpp")  # or skip
    source, binary = tmp_path / "cannot_hold.cpp", tmp_path / "cannot_hold"
    source.write_text(CANNOT_HOLD["cpp"])
    folder = str(SERVERS / "cpp")
    command = ["c++", "-std=c++17", "-I", folder, "-o", binary, source, "-lzmq"]
    subprocess.run(command, check=True)
    return serve(binary)


def test_hardware_that_cannot_hold_is_held_until_it_does_and_its_robot_is_told(cannot_hold, driver):
    here = driver(cannot_hold, lease_s=0.4)
    here.home(0)
    here.read()
    here.apply(np.full(2, 0.1))
    with pytest.raises(DriverFault, match=r"refuses HOLD: the plant cannot hold.*the bus is busy"):
        here.hold()
    while here.read().values[2:].any():
        time.sleep(0.01)
    here.hold()
    assert "the bus is busy: tried again until it does" in cannot_hold.log


def test_a_plant_that_lacks_a_method_is_refused_before_anything_listens():
    script = CANNOT_HOLD["python"].replace("CannotHold()", "type('Half', (), {'sense': 1})()")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: the plant Half has no method home, homed, sense, apply, hold" in done.stderr
