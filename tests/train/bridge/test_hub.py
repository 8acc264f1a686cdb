"""The hub's promises, seen from a robot's raw socket: stored before acknowledged, once, and
nothing that is not understood changes anything."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import zmq
from msgspec.structs import replace

from fieldtune.export.bundle import BundleError
from fieldtune.robot.bridge import wire
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.rewards import pack_rewards
from fieldtune.train.bridge.hub import Hub, HubError
from fieldtune.train.bridge.inbox import Inbox

ROOT = Path(__file__).parents[3]
WAIT_MS = 30_000


class Robot:
    """A robot's end of the line, message by message."""

    def __init__(self, context, address, session="robot-session"):
        self.session = session
        self.sequence = itertools.count()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)

    def raw(self, *frames):
        self.socket.send_multipart(frames)

    def say(self, body, sequence=None):
        sequence = next(self.sequence) if sequence is None else sequence
        self.raw(wire.encode(self.session, sequence, body))

    def hear(self):
        assert self.socket.poll(WAIT_MS), "the hub did not answer"
        return wire.decode(self.socket.recv())

    def ask(self, body):
        self.say(body)
        return self.hear().body

    def hello(self):
        assert self.ask(wire.Hello("sawyer", "reach", "boot")) == wire.Welcome()
        return self

    def beat(self, state="running"):
        self.say(wire.Heartbeat(time.monotonic_ns(), state, "b", 2))
        while not isinstance(body := self.hear().body, wire.HeartbeatReply):
            pass
        return body

    def upload(self, blob, sha256=None, part=wire.CHUNK_BYTES):
        sha256 = sha256 or codec.address(blob)
        answer = self.ask(wire.UploadOffer(sha256, len(blob)))
        while isinstance(answer, wire.UploadStatus):
            data = blob[answer.offset : answer.offset + part]
            answer = self.ask(wire.UploadChunk(sha256, len(blob), answer.offset, data))
        return answer


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def hub(folder):
    with Hub("tcp://127.0.0.1:*", folder) as hub:
        yield hub


@pytest.fixture
def context():
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)  # a socket that is forgotten waits for nobody
    yield context
    context.destroy(linger=0)


@pytest.fixture
def robot(context, hub):
    return Robot(context, hub.address).hello()


@pytest.fixture
def blob(make_episode):
    return msgspec.msgpack.encode(make_episode(steps=40))


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_an_episode_is_stored_before_it_is_acknowledged(robot, folder, blob):
    sha256 = codec.address(blob)
    assert robot.upload(blob) == wire.UploadDone(sha256)
    assert (folder / f"{sha256}.episode").read_bytes() == blob


def test_many_chunks_make_one_episode(robot, hub, make_episode):
    episode = make_episode(steps=400, width=300)
    blob = msgspec.msgpack.encode(episode)
    assert len(blob) > 3 * wire.CHUNK_BYTES
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))
    assert list(hub.episodes(set())) == [(codec.address(blob), episode)]


def test_an_episode_offered_again_is_acknowledged_at_once_and_not_stored_twice(robot, folder, blob):
    robot.upload(blob)
    sha256 = codec.address(blob)
    assert robot.ask(wire.UploadOffer(sha256, len(blob))) == wire.UploadDone(sha256)
    assert robot.ask(wire.UploadChunk(sha256, len(blob), 0, blob)) == wire.UploadDone(sha256)
    assert files(folder) == [f"{sha256}.episode"]


def test_what_the_trainers_disk_has_damaged_is_not_acknowledged_but_taken_again(
    robot, hub, folder, make_episode
):
    """Found by the robot's offer, before anybody has looked."""
    sound, spoilt = (msgspec.msgpack.encode(make_episode(number)) for number in (1, 2))
    for each in (sound, spoilt):
        robot.upload(each)
    sha256 = codec.address(spoilt)
    os.truncate(folder / f"{sha256}.episode", 1_000)
    assert robot.ask(wire.UploadOffer(sha256, len(spoilt))) == wire.UploadStatus(sha256, 0)
    assert robot.upload(spoilt) == wire.UploadDone(sha256)
    known = codec.address(sound)
    assert robot.ask(wire.UploadOffer(known, len(sound))) == wire.UploadDone(known)
    assert {found for found, _ in hub.episodes(set())} == {known, sha256}


def test_what_the_trainer_cannot_read_is_not_acknowledged(robot, folder, blob):
    robot.upload(blob)
    sha256 = codec.address(blob)
    (folder / f"{sha256}.episode").unlink()
    (folder / f"{sha256}.episode").mkdir()
    answer = robot.ask(wire.UploadOffer(sha256, len(blob)))
    assert (answer.kind, answer.sha256) == (wire.RefusalKind.LATER, sha256)


def test_old_and_repeated_messages_have_no_effect(robot, folder, blob):
    sha256 = codec.address(blob)
    assert robot.ask(wire.UploadOffer(sha256, len(blob))) == wire.UploadStatus(sha256, 0)
    chunk = wire.encode(robot.session, 100, wire.UploadChunk(sha256, len(blob), 0, blob[:500]))
    robot.raw(chunk)
    assert robot.hear().body == wire.UploadStatus(sha256, 500)
    robot.raw(chunk)
    robot.say(wire.UploadChunk(sha256, len(blob), 500, blob[500:900]), sequence=99)
    robot.sequence = itertools.count(101)
    assert isinstance(robot.ask(wire.Heartbeat(0, "", "", 0)), wire.HeartbeatReply)
    assert robot.ask(wire.UploadOffer(sha256, len(blob))) == wire.UploadStatus(sha256, 500)
    assert (folder / "partial" / "sawyer" / sha256).read_bytes() == blob[:500]


def test_half_an_upload_goes_on_after_the_trainer_has_restarted(context, folder, blob):
    sha256 = codec.address(blob)
    with Hub("tcp://127.0.0.1:*", folder) as hub:
        robot = Robot(context, hub.address).hello()
        robot.ask(wire.UploadOffer(sha256, len(blob)))
        robot.ask(wire.UploadChunk(sha256, len(blob), 0, blob[:700]))
    with Hub("tcp://127.0.0.1:*", folder) as hub:
        robot = Robot(context, hub.address).hello()
        answer = robot.ask(wire.UploadOffer(sha256, len(blob)))
        assert answer == wire.UploadStatus(sha256, 700)
        assert robot.upload(blob) == wire.UploadDone(sha256)


def test_a_chunk_that_leaves_a_gap_is_answered_with_what_is_held(robot, blob):
    sha256 = codec.address(blob)
    answer = robot.ask(wire.UploadChunk(sha256, len(blob), 900, blob[900:]))
    assert answer == wire.UploadStatus(sha256, 0)


def test_what_is_no_episode_is_refused_for_good(context, robot, hub, folder):
    answer = robot.upload(b"not an episode at all")
    assert answer.kind is wire.RefusalKind.REJECTED
    assert "not an episode" in answer.reason
    assert list(hub.episodes(set())) == []
    with Hub("tcp://127.0.0.1:*", folder) as restarted:
        robot = Robot(context, restarted.address).hello()
        assert robot.upload(b"not an episode at all") == answer


def test_another_hash_than_announced_is_refused_for_good(robot, hub, blob):
    answer = robot.upload(blob, sha256="0" * 64)
    assert answer.kind is wire.RefusalKind.REJECTED
    assert list(hub.episodes(set())) == []


def test_a_disk_that_refuses_makes_the_robot_wait(robot, folder, blob):
    partial = folder / "partial"
    partial.rmdir()
    partial.touch()
    answer = robot.upload(blob)
    assert answer.kind is wire.RefusalKind.LATER
    assert answer.sha256 == codec.address(blob)
    partial.unlink()
    partial.mkdir()
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))


def test_an_inbox_that_is_taken_away_makes_the_robot_wait_and_not_believe(robot, folder, blob):
    folder.rename(folder.with_name("elsewhere"))
    assert robot.upload(blob).kind is wire.RefusalKind.LATER
    folder.with_name("elsewhere").rename(folder)
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))


@pytest.fixture
def state(hub, folder):
    """What the hub knows and holds, for `is_as_it_was`."""

    def now():
        return hub.robots(), files(folder)

    return now


def is_as_it_was(before, now):
    """The same robots and files, and no robot heard of since."""
    (robots, held), (later, held_now) = before, now
    same = [replace(view, silent_s=0) for view in robots] == [
        replace(view, silent_s=0) for view in later
    ]
    quiet = all(b.silent_s > a.silent_s for a, b in zip(robots, later, strict=True))
    return same and quiet and held == held_now


def test_a_session_must_say_hello_first(context, hub, blob, folder):
    stranger = Robot(context, hub.address, session="stranger")
    answer = stranger.ask(wire.UploadChunk(codec.address(blob), len(blob), 0, blob))
    assert answer.kind is wire.RefusalKind.HELLO
    assert files(folder) == []
    assert hub.robots() == []


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b""], "0 bytes are not a message"),
        ([b"\xff\x00garbage"], "are not a message"),
        ([b"GET / HTTP/1.1\r\n\r\n"], "are not a message"),
        ([b"\x91" * 50_000], "are not a message"),
        ([b"a", b"b"], "2 frames, expected 1"),
        ([wire.encode("robot-session", 50, wire.Stop())], "a robot does not send Stop"),
    ],
)
def test_what_is_not_understood_is_logged_and_changes_nothing(
    robot, hub, folder, blob, frames, reason, caplog
):
    before = hub.robots(), files(folder)
    robot.raw(*frames)
    robot.sequence = itertools.count(51)
    robot.beat()
    assert reason in caplog.text
    assert ([view.robot for view in hub.robots()], files(folder)) == (["sawyer"], before[1])
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))


def test_random_bytes_change_nothing(robot, state, blob):
    before = state()
    for size in range(300):
        robot.raw(os.urandom(size))
    assert is_as_it_was(before, state())
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))


def test_an_unknown_version_is_refused_by_name_and_changes_nothing(robot, state, caplog):
    before = state()
    fields = {"version": 7, "session": robot.session, "sequence": 10**6, "body": {"type": "hello"}}
    robot.raw(msgspec.msgpack.encode(fields))
    answer = robot.hear().body
    assert answer.kind is wire.RefusalKind.MALFORMED
    assert "wire version 7 is unknown, expected 1" in answer.reason
    assert answer.reason in caplog.text
    assert is_as_it_was(before, state())
    robot.beat()


def test_an_unknown_field_is_refused_by_name(robot):
    body = {"type": "bundlerequest", "bundle_id": "0" * 64, "offset": 0, "token": "x"}
    fields = {"version": 1, "session": robot.session, "sequence": 10, "body": body}
    robot.raw(msgspec.msgpack.encode(fields))
    answer = robot.hear().body
    assert answer.kind is wire.RefusalKind.MALFORMED
    assert "unknown field `token`" in answer.reason


def test_an_oversized_message_never_reaches_the_hub(context, robot, hub, blob):
    Robot(context, hub.address, session="glutton").raw(bytes(4 * wire.MAX_MESSAGE_BYTES))
    assert robot.upload(blob) == wire.UploadDone(codec.address(blob))
    assert [view.robot for view in hub.robots()] == ["sawyer"]


def test_a_heartbeat_is_echoed_with_the_trainers_clock(robot):
    sent = time.monotonic_ns()
    reply = robot.ask(wire.Heartbeat(sent, "hold", "b", 0))
    assert sent == reply.sent_ns
    assert sent <= reply.received_ns <= reply.replied_ns <= time.monotonic_ns()


def test_the_trainer_sees_what_a_robot_reports(robot, hub):
    robot.beat(state="hold")
    (view,) = hub.robots()
    assert (view.robot, view.family, view.boot_session) == ("sawyer", "reach", "boot")
    assert (view.state, view.bundle_id, view.pending) == ("hold", "b", 2)
    assert 0 <= view.silent_s < 60


def test_a_published_bundle_is_announced_and_handed_out_in_chunks(
    robot, hub, make_bundle, tmp_path
):
    assert robot.beat().newest_bundle is None
    path = tmp_path / "first.bundle"
    bundle_id = make_bundle(path, padding=700_000)
    assert hub.publish(path) == bundle_id
    assert robot.beat().newest_bundle == bundle_id
    expected, received = path.read_bytes(), b""
    path.unlink()
    while len(received) < len(expected):
        chunk = robot.ask(wire.BundleRequest(bundle_id, len(received)))
        assert (chunk.bundle_id, chunk.size) == (bundle_id, len(expected))
        received += chunk.data
    assert received == expected


def test_the_bundle_before_can_still_be_fetched_to_its_end(robot, hub, make_bundle, tmp_path):
    old, new = (make_bundle(tmp_path / f"{seed}.bundle", seed=seed) for seed in (1, 2))
    hub.publish(tmp_path / "1.bundle")
    hub.publish(tmp_path / "2.bundle")
    assert robot.beat().newest_bundle == new
    assert robot.ask(wire.BundleRequest(old, 0)).bundle_id == old


def test_an_unsound_bundle_is_not_published_and_the_old_one_stays(
    robot, hub, make_bundle, tmp_path
):
    good = make_bundle(tmp_path / "good.bundle")
    hub.publish(tmp_path / "good.bundle")
    data = bytearray((tmp_path / "good.bundle").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.bundle").write_bytes(data)
    with pytest.raises(BundleError):
        hub.publish(tmp_path / "bad.bundle")
    assert robot.beat().newest_bundle == good


@pytest.mark.parametrize("offset", [0, 10**6])
def test_a_bundle_that_is_not_there_is_refused(robot, hub, make_bundle, tmp_path, offset):
    bundle_id = make_bundle(tmp_path / "a.bundle")
    hub.publish(tmp_path / "a.bundle")
    wanted = "0" * 64 if offset == 0 else bundle_id
    answer = robot.ask(wire.BundleRequest(wanted, offset))
    assert (answer.kind, answer.sha256) == (wire.RefusalKind.REJECTED, wanted)


def test_a_stop_is_told_with_every_heartbeat(robot, hub):
    hub.request_stop()
    for _ in range(2):
        robot.say(wire.Heartbeat(0, "running", "b", 0))
        assert isinstance(robot.hear().body, wire.HeartbeatReply)
        assert robot.hear().body == wire.Stop()


def test_messages_of_the_hub_are_numbered_within_its_life(robot, hub):
    robot.say(wire.Heartbeat(0, "", "", 0))
    first = robot.hear()
    robot.say(wire.Heartbeat(0, "", "", 0))
    second = robot.hear()
    assert first.session == second.session == hub.session
    assert second.sequence > first.sequence


def test_without_keys_no_port_is_opened_beyond_loopback(folder):
    with pytest.raises(wire.WireError, match="CURVE keys are required"):
        Hub("tcp://0.0.0.0:5555", folder)


def test_a_second_trainer_at_the_same_address_is_explained(hub, tmp_path):
    with pytest.raises(HubError, match="is another trainer running"):
        Hub(hub.address, tmp_path / "other").start()


def test_the_hub_imports_no_torch():
    script = "import sys, fieldtune.train.bridge.hub; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_rewards_are_stored_beside_their_episode_before_they_are_acknowledged(robot, folder, blob):
    episode = codec.address(blob)
    assert robot.upload(blob) == wire.UploadDone(episode)
    for rewards in ({0: -1.0, 3: 0.0}, {0: -2.0}):  # of two the last counts
        record = pack_rewards(episode, "sawyer", "keys", rewards)
        sha256 = codec.address(record)
        assert robot.ask(wire.RewardsOffer(sha256, len(record))) == wire.UploadStatus(sha256, 0)
        chunk = wire.UploadChunk(sha256, len(record), 0, record)
        assert robot.ask(chunk) == wire.UploadDone(sha256)
        assert (folder / "rewards" / f"{sha256}.rewards").read_bytes() == record
        assert robot.ask(wire.RewardsOffer(sha256, len(record))) == wire.UploadDone(sha256)
        assert Inbox(folder).rewards()[episode, "sawyer"].by_step() == rewards
    (found,) = Inbox(folder).episodes(after=set())
    assert found[0] == episode
