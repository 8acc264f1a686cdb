"""The bridge's promises: everything finished arrives once, whatever the trainer and the network do,
and only what was verified is handed to the loop. Half the tests have a real hub at the other end,
half a bare socket that can misbehave."""

from __future__ import annotations

import itertools
import os
import time

import msgspec
import pytest
import zmq

from fieldtune.robot.bridge import connection, wire
from fieldtune.robot.bridge.bundle_fetch import ANY_BUNDLE, FetchRules
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.bridge.connection import TrainerConnection
from fieldtune.robot.bridge.uploads import AT_ONCE
from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.journal import EntryState, Journal
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.inbox import Inbox

WAIT_S = 60


@pytest.fixture
def journal_path(tmp_path):
    path = tmp_path / "journal.sqlite"
    Journal.open(path).close()
    return path


@pytest.fixture
def record(journal_path, make_header, make_step, make_footer):
    """Add a finished episode; return its content address."""

    def write(steps=4, width=3):
        with Journal.open(journal_path) as journal, journal.transaction():
            number = journal.begin(make_header(journal.next_number()))
            for index in range(steps):
                journal.add(number, codec.pack(make_step(index, width)))
            return journal.finish(number, make_footer(steps))

    return write


@pytest.fixture
def states(journal_path):
    def read():
        with Journal.read(journal_path) as journal:
            return [entry.state for entry in journal.entries()]

    return read


@pytest.fixture
def bridge(journal_path, tmp_path):
    """Make clients, and stop them at the end."""
    clients = []

    def make(address, rules=ANY_BUNDLE):
        client = BridgeClient(
            address, "sawyer", "reach", "boot", journal_path, tmp_path / "bundles", rules=rules
        )
        clients.append(client)
        return client.start()

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def hub(tmp_path):
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        yield hub


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Trainer:
    """The trainer's end of the line: greets, echoes, and otherwise does as the test says."""

    def __init__(self, context):
        self.session = "trainer-session"
        self.sequence = itertools.count()
        self.identity = b""
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.newest_bundle = None

    def say(self, body, sequence=None):
        sequence = next(self.sequence) if sequence is None else sequence
        self.raw(wire.encode(self.session, sequence, body))

    def raw(self, *frames):
        self.socket.send_multipart([self.identity, *frames])

    def until(self, kind):
        """Serve until a body of this kind comes."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if not self.socket.poll(100):
                continue
            self.identity, payload = self.socket.recv_multipart()
            body = wire.decode(payload).body
            if isinstance(body, wire.Hello):
                self.say(wire.Welcome())
            elif isinstance(body, wire.Heartbeat):
                now = time.monotonic_ns()
                self.say(wire.HeartbeatReply(body.sent_ns, now, now, self.newest_bundle))
            if isinstance(body, kind):
                return body
        raise AssertionError(f"no {kind.__name__} came")


@pytest.fixture
def trainer():
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)  # a socket that is forgotten waits for nobody
    yield Trainer(context)
    context.destroy(linger=0)


def test_every_finished_episode_arrives_and_gets_its_receipt(bridge, hub, record, states):
    hashes = [record() for _ in range(5)]
    assert bridge(hub.address).close(WAIT_S)
    assert states() == [EntryState.ACKNOWLEDGED] * 5
    assert [sha256 for sha256, _ in hub.episodes(set())] == hashes


def test_rewards_arrive_behind_their_episodes(bridge, hub, record, journal_path, tmp_path):
    first, second = record(), record()
    with Journal.open(journal_path) as journal:
        journal.add_rewards(1, {0: -1.0, 3: 0.5}, "keys")
        journal.add_rewards(2, {2: 1.0}, "command")
    assert bridge(hub.address).close(WAIT_S)
    found = Inbox(tmp_path / "inbox").rewards()
    assert {key: (given.by_step(), given.source) for key, given in found.items()} == {
        (first, "sawyer"): ({0: -1.0, 3: 0.5}, "keys"),
        (second, "sawyer"): ({2: 1.0}, "command"),
    }
    with Journal.read(journal_path) as journal:
        assert journal.pending_rewards() == []


def test_a_trainer_of_before_rewards_goes_on_taking_episodes(
    bridge, trainer, record, states, journal_path
):
    first = record()
    with Journal.open(journal_path) as journal:
        journal.add_rewards(1, {0: 1.0}, "keys")
    client = bridge(trainer.address)
    trainer.until(wire.UploadOffer)
    trainer.say(wire.UploadDone(first))
    trainer.until(wire.RewardsOffer)
    trainer.say(wire.Refusal(wire.RefusalKind.MALFORMED, "Invalid value 'rewardsoffer'"))
    second = record()
    assert trainer.until(wire.UploadOffer).sha256 == second  # on the same connection
    trainer.say(wire.UploadDone(second))
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED] * 2)
    assert client.connected()
    with Journal.read(journal_path) as journal:
        assert journal.pending_rewards() == [1]


def test_a_large_episode_arrives_bit_for_bit(bridge, hub, record, journal_path):
    record(steps=600, width=400)
    with Journal.read(journal_path) as journal:
        sha256, blob = journal.blob(1)
    assert len(blob) > 6 * wire.CHUNK_BYTES
    assert bridge(hub.address).close(WAIT_S)
    ((received, episode),) = hub.episodes(set())
    assert (received, msgspec.msgpack.encode(episode)) == (sha256, blob)


def test_episodes_finished_while_the_trainer_is_away_arrive_when_it_comes(
    bridge, record, states, tmp_path
):
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        address = hub.address
    client = bridge(address)
    record()
    record()
    assert states() == [EntryState.PENDING] * 2
    assert client.clock() is None
    assert not client.connected()
    with Hub(address, tmp_path / "inbox") as hub:
        wait_for(lambda: states() == [EntryState.ACKNOWLEDGED] * 2)
        assert len(list(hub.episodes(set()))) == 2


def test_a_restarted_trainer_is_found_again(bridge, record, states, tmp_path):
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        client = bridge(hub.address)
        record()
        wait_for(lambda: states() == [EntryState.ACKNOWLEDGED])
    for n in (2, 3):
        with Hub(hub.address, tmp_path / "inbox") as hub:
            record()
            wait_for(lambda n=n: states() == [EntryState.ACKNOWLEDGED] * n)
            assert client.connected()
            assert len(list(hub.episodes(set()))) == n


def test_an_upload_goes_on_at_the_byte_the_trainer_says(bridge, trainer, record, states):
    sha256 = record(steps=400, width=300)
    bridge(trainer.address)
    offer = trainer.until(wire.UploadOffer)
    trainer.say(wire.UploadStatus(sha256, offer.size - 1_000))
    chunk = trainer.until(wire.UploadChunk)
    assert (chunk.offset, len(chunk.data)) == (offer.size - 1_000, 1_000)
    trainer.say(wire.UploadDone(sha256))
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED])


def test_a_few_episodes_are_under_way_at_once_and_receipts_may_come_in_any_order(
    bridge, trainer, record, states
):
    recorded = [record() for _ in range(AT_ONCE + 2)]
    bridge(trainer.address)
    offered = [trainer.until(wire.UploadOffer).sha256 for _ in range(AT_ONCE)]
    assert offered == recorded[:AT_ONCE]
    trainer.say(wire.UploadDone(offered[-1]))
    assert trainer.until(wire.UploadOffer).sha256 == recorded[AT_ONCE]
    rest = [sha256 for sha256 in recorded if sha256 != offered[-1]]
    for sha256 in reversed(rest[:-1]):
        trainer.say(wire.UploadDone(sha256))
    trainer.until(wire.UploadOffer)
    trainer.say(wire.UploadDone(rest[-1]))
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED] * len(recorded))


def test_a_large_episode_waits_for_the_one_before(bridge, trainer, record):
    large = [record(steps=500, width=300) for _ in range(2)]
    bridge(trainer.address)
    assert trainer.until(wire.UploadOffer).sha256 == large[0]
    assert trainer.until(wire.UploadOffer).sha256 == large[0], "nothing else, and that again"


def test_a_trainer_that_does_not_answer_is_asked_again(bridge, trainer, record, states):
    sha256 = record()
    bridge(trainer.address)
    first = trainer.until(wire.UploadOffer)
    assert trainer.until(wire.UploadOffer) == first
    trainer.say(wire.UploadDone(sha256))
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED])


def test_an_acknowledgement_for_another_episode_changes_nothing(bridge, trainer, record, states):
    sha256 = record()
    bridge(trainer.address)
    trainer.until(wire.UploadOffer)
    trainer.say(wire.UploadDone("0" * 64))
    trainer.until(wire.Heartbeat)
    assert states() == [EntryState.PENDING]
    trainer.say(wire.UploadDone(sha256))
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED])


def test_a_refused_episode_is_kept_and_the_next_one_travels(
    bridge, trainer, record, states, journal_path
):
    first, second = record(), record()
    bridge(trainer.address)
    assert trainer.until(wire.UploadOffer).sha256 == first
    trainer.say(wire.Refusal(wire.RefusalKind.REJECTED, "its robot is unknown", first))
    assert trainer.until(wire.UploadOffer).sha256 == second
    wait_for(lambda: states() == [EntryState.REJECTED, EntryState.PENDING])
    with Journal.read(journal_path) as journal:
        assert journal.entries()[0].reason == "its robot is unknown"


def test_a_trainer_without_disk_space_is_asked_again_later(bridge, trainer, record, states):
    sha256 = record()
    bridge(trainer.address)
    trainer.until(wire.UploadOffer)
    trainer.say(wire.Refusal(wire.RefusalKind.LATER, "disk full", sha256))
    assert trainer.until(wire.UploadOffer).sha256 == sha256
    assert states() == [EntryState.PENDING]


def test_an_episode_the_disk_damaged_does_not_hold_up_the_others(
    bridge, hub, record, states, journal_path
):
    record()
    record()
    with Journal.open(journal_path) as journal, journal.transaction():
        journal.connection.execute("UPDATE steps SET record = x'80' WHERE episode = 1")
    assert bridge(hub.address).close(WAIT_S)
    assert states() == [EntryState.REJECTED, EntryState.ACKNOWLEDGED]


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [os.urandom(300)],
        [b"\x91" * 50_000],
        [b"two", b"frames"],
        [msgspec.msgpack.encode({"version": 9, "session": "trainer-session", "sequence": 10**6})],
        [wire.encode("trainer-session", 10**6, wire.Heartbeat(0, "", "", 0))],
    ],
)
def test_what_is_not_understood_changes_nothing(bridge, trainer, record, states, frames, caplog):
    sha256 = record()
    client = bridge(trainer.address)
    trainer.until(wire.UploadOffer)
    trainer.raw(*frames)
    trainer.sequence = itertools.count(10**6 + 1)
    trainer.until(wire.Heartbeat)
    trainer.say(wire.UploadStatus(sha256, 0))
    trainer.until(wire.UploadChunk)
    assert states() == [EntryState.PENDING]
    assert (client.newest_bundle(), client.stop_requested()) == (None, False)
    if len(frames) > 1 or b"trainer-session" not in frames[0]:
        assert "dropped a message from the trainer" in caplog.text


def test_an_unknown_version_is_named_in_the_log(bridge, trainer, caplog):
    client = bridge(trainer.address)
    trainer.until(wire.Heartbeat)
    fields = {"version": 9, "session": "trainer-session", "sequence": 10**6, "body": {}}
    trainer.raw(msgspec.msgpack.encode(fields))
    trainer.until(wire.Heartbeat)
    trainer.until(wire.Heartbeat)
    assert "wire version 9 is unknown, expected 1" in caplog.text
    assert client.connected()


def test_old_and_repeated_messages_have_no_effect(bridge, trainer, record, states):
    sha256 = record()
    client = bridge(trainer.address)
    trainer.until(wire.UploadOffer)
    trainer.say(wire.Stop(), sequence=0)
    trainer.say(wire.UploadDone(sha256), sequence=0)
    trainer.until(wire.Heartbeat)
    trainer.until(wire.Heartbeat)
    assert not client.stop_requested()
    assert states() == [EntryState.PENDING]


def test_a_published_bundle_arrives_whole_under_its_id(bridge, hub, make_bundle, tmp_path):
    client = bridge(hub.address)
    assert client.newest_bundle() is None
    for seed in (1, 2):
        bundle_id = make_bundle(tmp_path / "new.bundle", seed=seed, padding=2_000_000)
        hub.publish(tmp_path / "new.bundle")
        wait_for(lambda i=bundle_id: client.newest_bundle() == tmp_path / f"bundles/{i}.bundle")
        assert client.newest_bundle().read_bytes() == (tmp_path / "new.bundle").read_bytes()


def test_a_bundle_that_is_here_already_is_verified_and_not_fetched(
    bridge, trainer, make_bundle, tmp_path
):
    (tmp_path / "bundles").mkdir()
    bundle_id = make_bundle(tmp_path / "a.bundle")
    here = (tmp_path / "a.bundle").rename(tmp_path / "bundles" / f"{bundle_id}.bundle")
    client = bridge(trainer.address)
    trainer.newest_bundle = bundle_id
    trainer.until(wire.Heartbeat)
    wait_for(lambda: client.newest_bundle() == here)


def test_a_bundle_with_one_flipped_byte_is_not_handed_on_and_the_old_one_stays(
    bridge, trainer, make_bundle, tmp_path, caplog
):
    client = bridge(trainer.address)
    for name, flipped in (("good", 0), ("bad", 1)):
        trainer.newest_bundle = make_bundle(tmp_path / name, seed=flipped)
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= flipped
        trainer.until(wire.BundleRequest)
        trainer.say(wire.BundleChunk(trainer.newest_bundle, len(data), 0, bytes(data)))
        if name == "good":
            wait_for(client.newest_bundle)
            good = client.newest_bundle()
    wait_for(lambda: "is not used" in caplog.text)
    trainer.until(wire.Heartbeat)
    assert client.newest_bundle() == good
    assert list((tmp_path / "bundles").iterdir()) == [good]


def test_the_robots_own_process_never_looks_into_a_bundle_that_comes(
    bridge, hub, make_bundle, tmp_path, monkeypatch
):
    """Hashing and decoding hold the interpreter, and with it the loop."""

    def looked(*_, **__):
        raise AssertionError("this is the robot's process")

    bundle_id = make_bundle(tmp_path / "new.bundle", padding=5_000_000)
    hub.publish(tmp_path / "new.bundle")
    for name in ("digest", "decode", "encode"):
        monkeypatch.setattr(f"fieldtune.export.archive.{name}", looked)
    client = bridge(hub.address)
    wait_for(lambda: client.newest_bundle() == tmp_path / f"bundles/{bundle_id}.bundle")
    assert [verdict.refused for verdict in client.verdicts()] == [""]
    assert client.verdicts() == []


def test_a_bundle_that_fails_its_trial_is_not_kept_nor_fetched_again(
    bridge, trainer, make_bundle, tmp_path, caplog
):
    client = bridge(trainer.address)
    trainer.newest_bundle = make_bundle(tmp_path / "slow.bundle", period_s=1e-6)
    data = (tmp_path / "slow.bundle").read_bytes()
    trainer.until(wire.BundleRequest)
    trainer.say(wire.BundleChunk(trainer.newest_bundle, len(data), 0, data))
    wait_for(lambda: "is not used: policy.onnx takes" in caplog.text)
    (verdict,) = client.verdicts()
    assert verdict.bundle_id == trainer.newest_bundle
    assert verdict.final
    assert list((tmp_path / "bundles").iterdir()) == []
    for _ in range(5):
        trainer.until(wire.Heartbeat)
    assert client.newest_bundle() is None
    assert caplog.text.count("is not used") == 1


def test_a_bundle_that_this_robot_knows_as_bad_is_not_fetched(
    bridge, trainer, make_bundle, tmp_path, caplog
):
    trainer.newest_bundle = make_bundle(tmp_path / "bad.bundle")
    client = bridge(trainer.address, FetchRules(why_bad=lambda _: "it faulted"))
    while f"bundle {trainer.newest_bundle} is not used: it faulted" not in caplog.text:
        trainer.until(wire.Heartbeat)
    assert client.newest_bundle() is None
    assert not (tmp_path / "bundles").exists()


def test_a_trainer_cannot_fill_a_robots_disk_with_bundles(
    bridge, hub, make_bundle, tmp_path, caplog
):
    """Room for two and a half: the one in use stays, older ones go, a larger one has to wait."""
    folder = tmp_path / "bundles"
    ids = [make_bundle(tmp_path / f"{seed}.bundle", seed=seed, padding=100_000) for seed in (1, 2)]
    size = (tmp_path / "1.bundle").stat().st_size
    client = bridge(hub.address, FetchRules(size * 5 // 2, lambda: {ids[0]}))
    for seed, bundle_id in enumerate(ids, 1):
        hub.publish(tmp_path / f"{seed}.bundle")
        wait_for(lambda i=bundle_id: client.newest_bundle() == folder / f"{i}.bundle")
    make_bundle(tmp_path / "large.bundle", seed=3, padding=200_000)
    hub.publish(tmp_path / "large.bundle")
    wait_for(lambda: "has to wait" in caplog.text)
    assert "raise robot.journal_quota_mb" in caplog.text
    third = make_bundle(tmp_path / "4.bundle", seed=4, padding=20_000)
    hub.publish(tmp_path / "4.bundle")
    wait_for(lambda: client.newest_bundle() == folder / f"{third}.bundle")
    assert (folder / f"{ids[0]}.bundle").exists()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= size * 5 // 2


def test_what_a_killed_robot_left_of_a_bundle_goes(bridge, hub, make_bundle, tmp_path):
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / f".{'a' * 64}.part").write_bytes(b"x" * 1000)
    bundle_id = make_bundle(tmp_path / "new.bundle")
    hub.publish(tmp_path / "new.bundle")
    client = bridge(hub.address)
    wait_for(client.newest_bundle)
    assert [path.stem for path in (tmp_path / "bundles").iterdir()] == [bundle_id]


def test_a_bundle_that_the_disk_has_spoilt_is_fetched_again(bridge, hub, make_bundle, tmp_path):
    bundle_id = make_bundle(tmp_path / "new.bundle")
    here = tmp_path / "bundles" / f"{bundle_id}.bundle"
    here.parent.mkdir()
    here.write_bytes((tmp_path / "new.bundle").read_bytes()[:-1] + b"x")
    hub.publish(tmp_path / "new.bundle")
    client = bridge(hub.address)
    wait_for(client.newest_bundle)
    assert here.read_bytes() == (tmp_path / "new.bundle").read_bytes()


def test_a_trial_goes_on_while_the_trainer_is_away(bridge, make_bundle, tmp_path, trainer):
    client = bridge(trainer.address)
    trainer.newest_bundle = make_bundle(tmp_path / "new.bundle")
    data = (tmp_path / "new.bundle").read_bytes()
    trainer.until(wire.BundleRequest)
    trainer.say(wire.BundleChunk(trainer.newest_bundle, len(data), 0, data))
    trainer.until(wire.Heartbeat)
    trainer.socket.context.destroy(linger=0)
    wait_for(client.newest_bundle)
    assert client.newest_bundle().read_bytes() == data


def test_a_bundle_that_the_disk_had_no_room_for_is_fetched_again(
    bridge, hub, make_bundle, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("fieldtune.robot.bridge.bundle_fetch.STALLED_S", 0.2)
    (tmp_path / "bundles").write_text("in the way, as a full disk is")
    bundle_id = make_bundle(tmp_path / "new.bundle")
    hub.publish(tmp_path / "new.bundle")
    client = bridge(hub.address)
    wait_for(lambda: "has to wait" in caplog.text)
    assert client.newest_bundle() is None
    (tmp_path / "bundles").unlink()
    wait_for(lambda: client.newest_bundle() == tmp_path / f"bundles/{bundle_id}.bundle")


def test_a_bundle_cut_off_by_a_restart_arrives_afterwards(bridge, make_bundle, tmp_path, trainer):
    client = bridge(trainer.address)
    trainer.newest_bundle = bundle_id = make_bundle(tmp_path / "a.bundle", padding=1_000_000)
    data = (tmp_path / "a.bundle").read_bytes()
    trainer.until(wire.BundleRequest)
    trainer.say(wire.BundleChunk(bundle_id, len(data), 0, data[: wire.CHUNK_BYTES]))
    trainer.until(wire.BundleRequest)
    trainer.socket.context.destroy(linger=0)
    with Hub(trainer.address, tmp_path / "inbox") as hub:
        hub.publish(tmp_path / "a.bundle")
        wait_for(client.newest_bundle)
    assert client.newest_bundle().read_bytes() == data


def test_a_stop_reaches_the_robot(bridge, hub):
    client = bridge(hub.address)
    wait_for(client.connected)
    assert not client.stop_requested()
    hub.request_stop()
    wait_for(client.stop_requested)


def test_a_trainer_that_has_asked_to_stop_may_end_without_a_warning(
    bridge, trainer, caplog, monkeypatch
):
    monkeypatch.setattr(connection, "SILENCE_S", 0.3)
    caplog.set_level("INFO")
    client = bridge(trainer.address)
    trainer.until(wire.Heartbeat)
    trainer.say(wire.Stop())
    wait_for(client.stop_requested)
    trainer.socket.close()
    wait_for(lambda: "the trainer has asked to stop, and seems to have ended" in caplog.text)
    time.sleep(1.0)  # and once more, without a new greeting
    assert "keys" not in caplog.text
    assert [one.levelname for one in caplog.records if "trying again" in one.message] == ["INFO"]


def test_a_trainer_that_ends_after_an_emergency_stop_is_missed(
    bridge, trainer, caplog, monkeypatch
):
    monkeypatch.setattr(connection, "SILENCE_S", 0.3)
    client = bridge(trainer.address)
    trainer.until(wire.Heartbeat)
    trainer.say(wire.Stop(emergency=True))
    wait_for(client.emergency)
    trainer.socket.close()
    wait_for(lambda: "trying again" in caplog.text)
    assert "has asked to stop" not in caplog.text


def test_the_trainer_hears_the_robots_state_and_bundle(bridge, hub):
    client = bridge(hub.address)
    client.report("running", "b" * 64)
    wait_for(lambda: [view.bundle_id for view in hub.robots()] == ["b" * 64])
    (view,) = hub.robots()
    assert (view.robot, view.family, view.boot_session) == ("sawyer", "reach", "boot")
    client.report("disarmed", "")
    client.close()
    wait_for(lambda: hub.robots()[0].state == "disarmed")


def test_two_ends_on_one_machine_have_no_offset_within_the_uncertainty(bridge, hub):
    client = bridge(hub.address)
    wait_for(client.clock)
    offset_ns, uncertainty_ns = client.clock()
    assert abs(offset_ns) <= uncertainty_ns


def test_close_says_whether_everything_has_its_receipt(bridge, record, tmp_path):
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        address = hub.address
    assert bridge(address).close(0.0) is True
    record()
    assert bridge(address).close(0.1) is False


def test_a_journal_that_does_not_exist_yet_is_waited_for(tmp_path, hub):
    client = BridgeClient(
        hub.address, "sawyer", "reach", "boot", tmp_path / "later.sqlite", tmp_path / "bundles"
    ).start()
    Journal.open(tmp_path / "later.sqlite").close()
    wait_for(client.connected)
    assert client.close(WAIT_S)


def test_a_fault_of_the_bridge_itself_ends_nothing(bridge, hub, record, states, monkeypatch):
    faults = iter([RuntimeError("a bug")])
    listen = TrainerConnection._listen

    def faulty(self):
        for fault in faults:
            raise fault
        listen(self)

    monkeypatch.setattr(TrainerConnection, "_listen", faulty)
    record()
    bridge(hub.address)
    wait_for(lambda: states() == [EntryState.ACKNOWLEDGED])


def test_a_name_that_no_trainer_would_take_is_refused_at_once(hub, journal_path, tmp_path):
    with pytest.raises(wire.WireError, match="length <= 128"):
        BridgeClient(hub.address, "s" * 129, "reach", "boot", journal_path, tmp_path)


def test_without_the_trainers_key_only_loopback_is_connected_to(journal_path, tmp_path):
    with pytest.raises(wire.WireError, match="CURVE keys are required"):
        BridgeClient("tcp://10.0.0.2:5555", "s", "r", "b", journal_path, tmp_path)
