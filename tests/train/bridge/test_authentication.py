"""Without a key that the trainer knows: no reply at all. With one: one's own name, and no other.

Real sockets with CURVE on 127.0.0.1; nothing here reaches for another machine.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import time

import msgspec
import pytest
import zmq

from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.curve_keys import BridgeKeys, KeysError, new_pair
from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.journal import EntryState, Journal
from fieldtune.robot.rationed_log import RationedLog
from fieldtune.train.bridge.authentication import CurveAuthenticator
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.keys import make_keys

WAIT_MS = 30_000
WAIT_S = 60
SILENT_MS = 700
GREETING_BYTES = 64  # ZMTP 3.1: signature, version, mechanism; the same for everybody


@pytest.fixture
def keys(tmp_path):
    """The trainer's; one robot is allowed, 'sawyer'."""
    keys = make_keys(tmp_path / "keys")
    keys.allowed.allow("sawyer", SAWYER.public)
    return keys


SAWYER, OTHER, STRANGER = new_pair(), new_pair(), new_pair()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def hub(keys, folder, caplog):
    caplog.set_level(logging.INFO)
    with Hub("tcp://127.0.0.1:*", folder, keys) as hub:
        yield hub


@pytest.fixture
def context():
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)  # a socket that is forgotten waits for nobody
    yield context
    context.destroy(linger=0)


class Peer:
    """A DEALER with whatever keys the test gives it."""

    def __init__(self, context, address, keys=None, session="session"):
        self.session, self.sequence = session, itertools.count()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys is not None:
            keys.secure(self.socket)
        self.socket.connect(address)

    def say(self, body):
        self.socket.send(wire.encode(self.session, next(self.sequence), body))

    def ask(self, body):
        self.say(body)
        assert self.socket.poll(WAIT_MS), "the hub did not answer"
        return wire.decode(self.socket.recv()).body

    def hears_nothing(self):
        return not self.socket.poll(SILENT_MS)


@pytest.fixture
def peer(context, hub, keys):
    def make(pair, session="session"):
        return Peer(context, hub.address, BridgeKeys(pair, keys.own.public), session)

    return make


@pytest.fixture
def blob(make_episode):
    return msgspec.msgpack.encode(make_episode(steps=40))


def upload(peer, blob):
    sha256 = codec.address(blob)
    assert peer.ask(wire.UploadOffer(sha256, len(blob))) == wire.UploadStatus(sha256, 0)
    return peer.ask(wire.UploadChunk(sha256, len(blob), 0, blob))


def hello(robot="sawyer"):
    return wire.Hello(robot, "reach", "boot")


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_robot_with_an_allowed_key_is_served(peer, hub, blob):
    robot = peer(SAWYER)
    assert robot.ask(hello()) == wire.Welcome()
    assert upload(robot, blob) == wire.UploadDone(codec.address(blob))
    assert [view.robot for view in hub.robots()] == ["sawyer"]


def plain(hub, keys):  # noqa: ARG001
    return None


def wrong_trainer(hub, keys):  # noqa: ARG001
    return BridgeKeys(SAWYER, STRANGER.public)


def unknown_robot(hub, keys):  # noqa: ARG001
    return BridgeKeys(STRANGER, keys.own.public)


def stolen_name(hub, keys):  # noqa: ARG001
    """The public half of an allowed key, without its secret."""
    return BridgeKeys(type(SAWYER)(SAWYER.public, STRANGER.secret), keys.own.public)


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (plain, "robot.keys.trainer"),
        (wrong_trainer, "it was made for another trainer's key"),
        (unknown_robot, f"its key {STRANGER.public} is not allowed"),
        (stolen_name, "turned away a connection"),
    ],
    ids=["plain", "wrong trainer", "unknown robot", "stolen name"],  # a key differs in each process
)
def test_without_a_key_there_is_no_reply_and_no_change_but_a_reason_in_the_log(
    context, hub, keys, folder, blob, credentials, reason, caplog
):
    intruder = Peer(context, hub.address, credentials(hub, keys))
    for body in (
        hello(),
        wire.Heartbeat(0, "", "", 0),
        wire.UploadOffer(codec.address(blob), len(blob)),
        wire.UploadChunk(codec.address(blob), len(blob), 0, blob),
    ):
        intruder.say(body)
    assert intruder.hears_nothing()
    wait_for(lambda: reason in caplog.text)
    assert (hub.robots(), files(folder)) == ([], [])
    robot = Peer(context, hub.address, BridgeKeys(SAWYER, keys.own.public))
    assert robot.ask(hello()) == wire.Welcome()


def test_random_bytes_at_the_door_get_nothing_but_zmqs_greeting(hub, folder, peer, caplog):
    port = int(hub.address.rpartition(":")[2])
    for data in [os.urandom(size) for size in range(0, 2000, 50)] + [b"GET / HTTP/1.1\r\n\r\n"]:
        heard = b""
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.settimeout(10)
            with contextlib.suppress(OSError):  # it may be cut off at any moment
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
                while part := line.recv(4096):
                    heard += part
        assert len(heard) <= GREETING_BYTES
    wait_for(lambda: "turned away a connection" in caplog.text)
    assert (hub.robots(), files(folder)) == ([], [])
    assert peer(SAWYER).ask(hello()) == wire.Welcome()


def test_strangers_do_not_fill_the_log(caplog, monkeypatch):
    quiet = RationedLog(logging.getLogger("fieldtune.train.bridge.authentication"))
    for _ in range(20):
        quiet.warn("unknown", "a stranger")
        quiet.warn("other", "another reason")
    assert (caplog.text.count("a stranger"), caplog.text.count("another reason")) == (1, 1)
    monkeypatch.setattr("fieldtune.robot.rationed_log.QUIET_S", 0.0)
    quiet.warn("unknown", "a stranger")
    assert "a stranger (and 19 like it before)" in caplog.text


def test_a_crowd_of_strangers_does_not_keep_a_robot_out(context, hub, keys, peer, caplog):
    crowd = [Peer(context, hub.address, BridgeKeys(new_pair(), keys.own.public)) for _ in range(50)]
    for stranger in crowd:
        stranger.say(hello())
    robot = peer(SAWYER)
    assert robot.ask(hello()) == wire.Welcome()
    wait_for(lambda: "is not allowed" in caplog.text)
    assert [view.robot for view in hub.robots()] == ["sawyer"]
    assert all(not stranger.socket.poll(0) for stranger in crowd)


def test_a_robot_cannot_take_another_ones_name(peer, hub, keys, caplog):
    keys.allowed.allow("other", OTHER.public)
    liar = peer(OTHER)
    answer = liar.ask(hello("sawyer"))
    assert answer.kind is wire.RefusalKind.HELLO
    assert "this key is of robot 'other', not of 'sawyer'" in answer.reason
    assert "turned away a hello" in caplog.text
    assert hub.robots() == []
    assert liar.ask(wire.Heartbeat(0, "running", "", 0)).kind is wire.RefusalKind.HELLO


def test_a_robot_cannot_speak_in_another_ones_session(peer, hub, keys):
    keys.allowed.allow("other", OTHER.public)
    robot, liar = peer(SAWYER, "the same"), peer(OTHER, "the same")
    robot.ask(hello())
    liar.sequence = itertools.count(10**6)
    assert liar.ask(wire.Heartbeat(0, "hold", "", 9)).kind is wire.RefusalKind.HELLO
    assert liar.ask(hello("other")) == wire.Welcome()
    liar.ask(wire.Heartbeat(0, "fault", "", 9))
    robot.ask(wire.Heartbeat(0, "running", "", 1))  # its sequence is not spoilt either
    assert {view.robot: view.state for view in hub.robots()} == {
        "sawyer": "running",
        "other": "fault",
    }


def test_a_robot_cannot_push_another_one_out_with_sessions(peer, hub, keys):
    keys.allowed.allow("other", OTHER.public)
    robot, flood = peer(SAWYER), peer(OTHER)
    robot.ask(hello())
    for number in range(300):
        flood.session = f"session {number}"
        flood.ask(hello("other"))
    assert isinstance(robot.ask(wire.Heartbeat(0, "", "", 0)), wire.HeartbeatReply)
    assert len(hub.robots()) == 1 + 256


def test_an_episode_in_another_robots_name_is_refused_and_set_aside(peer, hub, keys, folder, blob):
    keys.allowed.allow("other", OTHER.public)
    liar = peer(OTHER)
    liar.ask(hello("other"))
    answer = upload(liar, blob)
    assert answer.kind is wire.RefusalKind.REJECTED
    assert "it is of robot 'sawyer', and robot 'other' sent it" in answer.reason
    assert list(hub.episodes(set())) == []
    sha256 = codec.address(blob)
    assert files(folder) == [sha256, f"{sha256}.reason"]


def garbage(blob):
    return bytes(len(blob))


@pytest.mark.parametrize("sent", [bytes, garbage], ids=["its bytes", "garbage under its hash"])
def test_no_robot_can_have_another_robots_episode_refused(peer, hub, keys, blob, sent):
    keys.allowed.allow("other", OTHER.public)
    sha256, liar, robot = codec.address(blob), peer(OTHER), peer(SAWYER)
    liar.ask(hello("other"))
    robot.ask(hello())
    liar.ask(wire.UploadOffer(sha256, len(blob)))
    answer = liar.ask(wire.UploadChunk(sha256, len(blob), 0, sent(blob)))
    assert answer.kind is wire.RefusalKind.REJECTED
    assert upload(robot, blob) == wire.UploadDone(sha256)
    assert [found for found, _ in hub.episodes(set())] == [sha256]


def test_no_robot_can_spoil_what_another_has_half_sent(peer, hub, keys, folder, blob):
    keys.allowed.allow("other", OTHER.public)
    sha256, liar, robot = codec.address(blob), peer(OTHER), peer(SAWYER)
    liar.ask(hello("other"))
    robot.ask(hello())
    half = len(blob) // 2
    robot.ask(wire.UploadChunk(sha256, len(blob), 0, blob[:half]))
    assert liar.ask(wire.UploadOffer(sha256, half - 1)) == wire.UploadStatus(sha256, 0)
    liar.ask(wire.UploadChunk(sha256, len(blob), 0, bytes(half)))
    robot.ask(wire.UploadChunk(sha256, len(blob), half, blob[half:]))
    assert [found for found, _ in hub.episodes(set())] == [sha256]
    assert liar.ask(wire.UploadOffer(sha256, len(blob))) == wire.UploadDone(sha256)
    assert files(folder) == [f"{sha256}.episode"]


@pytest.mark.usefixtures("hub")
def test_a_revoked_robot_is_not_heard_any_more_without_a_restart(peer, keys, folder, blob, caplog):
    keys.allowed.allow("other", OTHER.public)
    robot, other = peer(SAWYER), peer(OTHER)
    robot.ask(hello())
    other.ask(hello("other"))
    keys.allowed.revoke("sawyer")
    robot.say(wire.UploadChunk(codec.address(blob), len(blob), 0, blob))
    assert robot.hears_nothing()
    assert f"key {SAWYER.public} is no longer allowed" in caplog.text
    assert files(folder) == []
    assert isinstance(other.ask(wire.Heartbeat(0, "", "", 0)), wire.HeartbeatReply)
    assert peer(SAWYER, "again").hears_nothing()
    keys.allowed.allow("sawyer", SAWYER.public)
    assert upload(robot, blob) == wire.UploadDone(codec.address(blob))


def test_a_robot_allowed_later_gets_in_without_a_restart(peer, hub, keys):
    keys.allowed.allow("other", OTHER.public)
    robot = peer(OTHER)
    assert robot.ask(hello("other")) == wire.Welcome()
    assert [view.robot for view in hub.robots()] == ["other"]


def test_a_hub_without_allowed_robots_does_not_open(tmp_path, folder):
    with pytest.raises(KeysError, match="no robot is allowed"):
        Hub("tcp://0.0.0.0:5555", folder, make_keys(tmp_path / "keys"))


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://127.0.0.1:*"])
def test_with_keys_any_interface_may_be_asked_for(address, folder, keys):
    Hub(address, folder, keys)


def test_nobody_is_let_in_for_another_domain_or_mechanism(keys):
    def judge(domain=b"fieldtune", mechanism=b"CURVE", *credentials):
        request = [b"1.0", b"7", domain, b"127.0.0.1", b"", mechanism, *credentials]
        return CurveAuthenticator(keys)._judge(request)

    key = bytes.fromhex(SAWYER.public)
    assert judge(b"fieldtune", b"CURVE", key)[:3] == [b"1.0", b"7", b"200"]
    for request in (
        (b"other", b"CURVE", key),
        (b"fieldtune", b"NULL"),
        (b"fieldtune", b"PLAIN", b"sawyer", b"password"),
        (b"fieldtune", b"CURVE"),
        (b"fieldtune", b"CURVE", b""),
        (b"fieldtune", b"CURVE", b"*"),
    ):
        assert judge(*request)[2] == b"300"


# The robot's own end


@pytest.fixture
def journal_path(tmp_path, make_header, make_step, make_footer):
    """A journal with one finished episode."""
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal, journal.transaction():
        number = journal.begin(make_header(journal.next_number()))
        journal.add(number, codec.pack(make_step(0)))
        journal.finish(number, make_footer(1))
    return path


@pytest.fixture
def bridge(journal_path, tmp_path):
    clients = []

    def make(address, keys, robot="sawyer"):
        client = BridgeClient(
            address, robot, "reach", "boot", journal_path, tmp_path / "bundles", keys
        )
        clients.append(client)
        return client.start()

    yield make
    for client in clients:
        client.close()


def state(journal_path):
    with Journal.read(journal_path) as journal:
        return [entry.state for entry in journal.entries()]


def test_episodes_go_up_and_bundles_come_down_under_curve(
    bridge, hub, keys, journal_path, make_bundle, tmp_path
):
    make_bundle(tmp_path / "a.bundle", padding=700_000)
    hub.publish(tmp_path / "a.bundle")
    client = bridge(hub.address, BridgeKeys(SAWYER, keys.own.public))
    wait_for(client.newest_bundle)
    assert client.newest_bundle().read_bytes() == (tmp_path / "a.bundle").read_bytes()
    assert client.close(WAIT_S)
    assert state(journal_path) == [EntryState.ACKNOWLEDGED]


def test_a_trainer_that_restarts_is_found_again_under_curve(bridge, keys, journal_path, folder):
    with Hub("tcp://127.0.0.1:*", folder, keys) as hub:
        client = bridge(hub.address, BridgeKeys(SAWYER, keys.own.public))
        wait_for(lambda: state(journal_path) == [EntryState.ACKNOWLEDGED])
    with Hub(hub.address, folder, keys):
        wait_for(client.connected)


@pytest.mark.parametrize("secured", [False, True])
def test_a_robot_says_nothing_to_who_is_not_its_trainer(
    bridge, context, journal_path, secured, caplog
):
    impostor = context.socket(zmq.ROUTER)
    impostor.linger = 0
    if secured:
        impostor.curve_server = True
        impostor.curve_secretkey = bytes.fromhex(OTHER.secret)
    port = impostor.bind_to_random_port("tcp://127.0.0.1")
    client = bridge(f"tcp://127.0.0.1:{port}", BridgeKeys(SAWYER, STRANGER.public))
    wait_for(lambda: "the keys at both ends do not match" in caplog.text)
    assert not impostor.poll(0)
    assert not client.connected()
    assert state(journal_path) == [EntryState.PENDING]


def test_a_robot_hears_why_its_name_is_not_its_keys(bridge, hub, keys, journal_path, caplog):
    bridge(hub.address, BridgeKeys(SAWYER, keys.own.public), robot="sawyer-2")
    wait_for(lambda: "the trainer refused: this key is of robot 'sawyer'" in caplog.text)
    assert state(journal_path) == [EntryState.PENDING]
    assert hub.robots() == []


def test_a_robot_that_is_allowed_at_last_uploads_what_it_kept(bridge, hub, keys, journal_path):
    client = bridge(hub.address, BridgeKeys(OTHER, keys.own.public))
    keys.allowed.revoke("sawyer")
    assert not client.connected()
    keys.allowed.allow("sawyer", OTHER.public)
    wait_for(lambda: state(journal_path) == [EntryState.ACKNOWLEDGED])


def test_an_address_beyond_loopback_is_taken_with_keys_only(journal_path, tmp_path):
    def make(keys):
        address = "tcp://10.0.0.2:5780"  # never started: nothing is connected
        return BridgeClient(address, "s", "reach", "boot", journal_path, tmp_path, keys)

    make(BridgeKeys(SAWYER, STRANGER.public))
    with pytest.raises(wire.WireError, match=r"robot\.keys\.trainer"):
        make(None)
