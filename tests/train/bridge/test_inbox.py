"""The inbox's promises: whole or not at all, once, and nothing held is lost with the process."""

from __future__ import annotations

import contextlib
import os
import resource

import msgspec
import pytest

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.rewards import pack_rewards
from fieldtune.train.bridge import inbox_share
from fieldtune.train.bridge.inbox import Inbox, Refused, damaged
from fieldtune.train.bridge.inbox_share import folder_name

A, B = "arm", "sawyer"


@pytest.fixture
def inbox(tmp_path):
    inbox = Inbox(tmp_path / "inbox")
    inbox.prepare()
    return inbox


@pytest.fixture
def blob(make_episode):
    return msgspec.msgpack.encode(make_episode(steps=50))


def send(inbox, blob, sha256=None, start=0, part=1_000, sender=A):
    sha256 = sha256 or codec.address(blob)
    held = start
    while held < len(blob):
        held = inbox.share(sender).append(sha256, len(blob), held, blob[held : held + part])
    return sha256


def files(inbox):
    return sorted(
        path.relative_to(inbox.path).as_posix() for path in inbox.path.rglob("*") if path.is_file()
    )


def restarted(inbox):
    return Inbox(inbox.path)


def test_a_whole_episode_is_one_file_named_by_its_hash(inbox, blob):
    sha256 = send(inbox, blob)
    assert inbox.finish(A, sha256)
    assert files(inbox) == [f"{sha256}.episode"]
    assert (inbox.path / f"{sha256}.episode").read_bytes() == blob


def test_what_is_held_survives_a_kill(inbox, blob):
    sha256 = codec.address(blob)
    inbox.share(A).append(sha256, len(blob), 0, blob[:2_500])
    again = restarted(inbox)
    assert again.share(A).resume(sha256, len(blob)) == 2_500
    send(again, blob, start=2_500)
    assert again.finish(A, sha256)


def test_bytes_from_elsewhere_are_left_out(inbox, blob):
    sha256 = codec.address(blob)
    assert inbox.share(A).append(sha256, len(blob), 1_000, blob[1_000:2_000]) == 0
    assert inbox.share(A).append(sha256, len(blob), 0, blob[:1_000]) == 1_000
    assert inbox.share(A).append(sha256, len(blob), 0, blob[:1_000]) == 1_000
    assert inbox.share(A).append(sha256, len(blob), 500, blob[500:1_500]) == 1_000
    assert inbox.share(A).append(sha256, 1_500, 1_000, blob[1_000:2_000]) == 1_000
    assert (inbox.path / "partial" / A / sha256).read_bytes() == blob[:1_000]


def test_more_than_was_announced_starts_afresh(inbox, blob):
    sha256 = send(inbox, blob)
    assert inbox.share(A).resume(sha256, 10) == 0
    assert files(inbox) == []


def test_a_part_that_a_power_cut_damaged_comes_again(inbox, blob):
    sha256 = codec.address(blob)
    inbox.share(A).append(sha256, len(blob), 0, blob[:2_000])
    (inbox.path / "partial" / A / sha256).write_bytes(bytes(2_000))
    again = restarted(inbox)
    send(again, blob, start=2_000)
    assert again.finish(A, sha256) is False
    assert files(inbox) == []
    send(again, blob)
    assert again.finish(A, sha256)


def test_bytes_that_came_whole_and_have_another_hash_are_refused_for_good(inbox, blob):
    send(inbox, blob, sha256="0" * 64)
    with pytest.raises(Refused, match="announced was 0000"):
        inbox.finish(A, "0" * 64)
    with pytest.raises(Refused, match="announced was 0000"):
        restarted(inbox).share(A).require_welcome("0" * 64)


def test_what_is_no_episode_is_refused_for_good_and_kept_with_the_reason(inbox):
    sha256 = send(inbox, b"\x83 no episode")
    with pytest.raises(Refused, match="not an episode"):
        inbox.finish(A, sha256)
    assert files(inbox) == [f"refused/{A}/{sha256}", f"refused/{A}/{sha256}.reason"]
    with pytest.raises(Refused, match="not an episode"):
        restarted(inbox).share(A).require_welcome(sha256)


def test_a_kill_between_reason_and_move_leaves_it_refused(inbox):
    sha256 = send(inbox, b"\x83 no episode")
    (inbox.path / "refused" / A).mkdir()
    (inbox.path / "refused" / A / f"{sha256}.reason").write_text("not an episode")
    with pytest.raises(Refused):
        restarted(inbox).share(A).require_welcome(sha256)


@contextlib.contextmanager
def full_disk(largest_file):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_that_was_held(inbox, blob):
    sha256 = codec.address(blob)
    with full_disk(largest_file=1_500), pytest.raises(OSError, match="File too large"):
        send(inbox, blob)
    held = inbox.share(A).resume(sha256, len(blob))
    assert (inbox.path / "partial" / A / sha256).read_bytes() == blob[:held]
    send(inbox, blob, start=held)
    assert inbox.finish(A, sha256)


def test_episodes_come_in_the_order_of_arrival_without_those_known(inbox, make_episode):
    stored = []
    for number in range(5):
        blob = msgspec.msgpack.encode(make_episode(number + 1))
        sha256 = send(inbox, blob)
        inbox.finish(A, sha256)
        os.utime(inbox.path / f"{sha256}.episode", ns=(number, number))
        stored.append((sha256, make_episode(number + 1)))
    assert list(inbox.episodes(set())) == stored
    assert list(inbox.episodes({stored[0][0], stored[3][0]})) == [stored[i] for i in (1, 2, 4)]


def test_what_cannot_be_read_is_told_once_and_keeps_nobody_waiting(inbox, make_episode, caplog):
    (inbox.path / f"{'a' * 64}.episode").symlink_to("/nowhere")
    (inbox.path / f"{'b' * 64}.episode").mkdir()
    sha256 = send(inbox, msgspec.msgpack.encode(make_episode()))
    inbox.finish(A, sha256)
    for _ in range(2):
        assert [found for found, _ in inbox.episodes(set())] == [sha256]
    assert caplog.text.count("left out for now") == 2


def test_a_file_damaged_since_is_set_aside_and_reported(inbox, make_episode, caplog):
    hashes = [send(inbox, msgspec.msgpack.encode(make_episode(n))) for n in (1, 2)]
    for sha256 in hashes:
        inbox.finish(A, sha256)
    (inbox.path / f"{hashes[0]}.episode").write_bytes(b"rust")
    assert [sha256 for sha256, _ in inbox.episodes(set())] == [hashes[1]]
    assert "have changed since" in caplog.text
    assert files(inbox) == [f"{hashes[1]}.episode", f"refused/{hashes[0]}.damaged"]


def test_the_log_says_whose_a_damaged_file_was_and_how_it_comes_again(inbox, make_episode, caplog):
    for number, keep in ((16, 1_000), (17, 10)):
        blob = msgspec.msgpack.encode(make_episode(number))
        sha256 = send(inbox, blob)
        inbox.finish(A, sha256)
        os.truncate(inbox.path / f"{sha256}.episode", keep)
    (inbox.path / "copy.episode").write_bytes(blob)  # put there by a person
    assert list(inbox.episodes(set())) == []
    named = "It was episode 16 of robot 'sawyer': there, `fieldtune-robot journal offer --episodes"
    assert caplog.text.count(f"{named} 16`") == 1
    assert caplog.text.count("Whose it was cannot be read: robots that offer") == 1
    assert sorted(
        "nobody" if header is None else f"{header.number} of {header.robot}"
        for header in damaged(inbox.path).values()
    ) == ["16 of sawyer", "nobody"]


def test_what_is_damaged_is_not_said_to_be_stored_and_comes_again(inbox, blob):
    sha256 = send(inbox, blob)
    inbox.finish(A, sha256)
    assert inbox.is_stored(sha256)
    os.truncate(inbox.path / f"{sha256}.episode", 1_000)
    assert not inbox.is_stored(sha256)
    assert list(damaged(inbox.path)) == [sha256]
    send(inbox, blob)
    assert inbox.finish(A, sha256)
    assert inbox.is_stored(sha256)
    assert damaged(inbox.path) == {}


def test_a_file_is_read_once_and_again_where_it_has_changed(inbox, blob, monkeypatch):
    sha256 = send(inbox, blob)
    inbox.finish(A, sha256)
    read = []
    monkeypatch.setattr(codec, "address", lambda blob: read.append(len(blob)) or sha256)
    for _ in range(3):
        assert inbox.is_stored(sha256)
    os.utime(inbox.path / f"{sha256}.episode", ns=(1, 1))
    assert inbox.is_stored(sha256)
    assert read == [len(blob)] * 2


def test_who_finds_damage_second_leaves_alone_what_has_come_again(inbox, blob):
    sha256 = send(inbox, blob)
    inbox.finish(A, sha256)
    inbox._set_aside(sha256)  # as a thread that had read the damaged bytes before
    assert inbox.is_stored(sha256)
    (inbox.path / f"{sha256}.episode").unlink()
    inbox._set_aside(sha256)  # or before it was there again
    assert damaged(inbox.path) == {}


def test_a_robots_name_is_not_taken_for_a_damaged_episode(inbox):
    sha256 = send(inbox, b"no episode", sender="x.damaged")
    with pytest.raises(Refused):
        inbox.finish("x.damaged", sha256)
    assert damaged(inbox.path) == {}


def test_what_one_sender_is_refused_another_may_still_bring(inbox, make_episode):
    blob = msgspec.msgpack.encode(make_episode())
    sha256 = send(inbox, blob, sender=A)
    with pytest.raises(Refused, match="it is of robot 'sawyer', and robot 'arm' sent it"):
        inbox.finish(A, sha256, robot=A)
    again = restarted(inbox)
    again.share(B).require_welcome(sha256)
    send(again, blob, sender=B)
    assert again.finish(B, sha256, robot=B)
    assert again.is_stored(sha256)


def test_bytes_of_one_sender_never_end_in_an_upload_of_another(inbox, blob):
    sha256 = codec.address(blob)
    inbox.share(A).append(sha256, len(blob), 0, bytes(1_000))
    assert inbox.share(B).resume(sha256, len(blob)) == 0
    send(inbox, blob, sender=B)
    assert inbox.finish(B, sha256)
    assert (inbox.path / f"{sha256}.episode").read_bytes() == blob


def test_a_sender_that_begins_without_end_drops_only_its_own(inbox, blob):
    sha256 = codec.address(blob)
    inbox.share(B).append(sha256, len(blob), 0, blob[:1_000])
    for number in range(inbox_share.PARTIALS + 20):
        inbox.share(A).append(f"{number:064x}", 1_000, 0, b"x")
        os.utime(inbox.path / "partial" / A / f"{number:064x}", ns=(number, number))
    left = sorted(path.name for path in (inbox.path / "partial" / A).iterdir())
    assert left == [f"{number:064x}" for number in range(20, inbox_share.PARTIALS + 20)]
    assert inbox.share(B).resume(sha256, len(blob)) == 1_000


def test_half_uploads_of_a_sender_stay_under_its_bound_in_bytes(inbox, monkeypatch):
    monkeypatch.setattr(inbox_share, "PARTIAL_BYTES", 2_500)
    for part in range(2):
        for number in range(3):
            sha256 = f"{number:064x}"
            inbox.share(A).append(sha256, 9_999, 500 * part, bytes(500))
            os.utime(inbox.share(A).file(sha256), ns=(10 * part + number,) * 2)
    held = [inbox.share(A).resume(f"{number:064x}", 9_999) for number in range(3)]
    assert held == [0, 1_000, 1_000]


def test_of_what_is_refused_the_newest_stays_and_the_rest_is_forgotten(inbox, monkeypatch):
    monkeypatch.setattr(inbox_share, "REFUSALS", 3)
    monkeypatch.setattr(inbox_share, "REFUSED_BYTES", 25)
    refused = []
    for number in range(5):
        sha256 = send(inbox, b"no episode" + bytes([number]))
        with pytest.raises(Refused):
            inbox.finish(A, sha256)
        for path in (inbox.path / "refused" / A).glob(f"{sha256}*"):
            os.utime(path, ns=(number, number))
        refused.append(sha256)
    assert files(inbox) == sorted(
        [f"refused/{A}/{sha256}" for sha256 in refused[-2:]]
        + [f"refused/{A}/{sha256}.reason" for sha256 in refused[-3:]]
    )


def test_an_inbox_from_before_senders_is_taken_over(inbox, blob):
    sha256 = codec.address(blob)
    (inbox.path / "partial" / sha256).write_bytes(blob[:1_000])
    (inbox.path / "refused" / sha256).write_bytes(blob)
    (inbox.path / "refused" / f"{sha256}.reason").write_text("it is of robot 'sawyer'")
    again = restarted(inbox)
    again.prepare()
    again.share(A).require_welcome(sha256)
    assert again.share(A).resume(sha256, len(blob)) == 0
    assert files(again) == [f"refused/{sha256}", f"refused/{sha256}.reason"]
    send(again, blob)
    assert again.finish(A, sha256)


SENDERS = [
    "",
    ".",
    "..",
    "a/b",
    "A",
    "a",
    "é",
    "e",
    "\0",
    "f" * 64,
    "x" * 128,
    "X" * 128,
    "🤖" * 128,
]


def test_every_name_of_a_sender_is_a_folder_of_its_own(inbox, blob):
    assert len({folder_name(sender).lower() for sender in SENDERS}) == len(SENDERS)
    for sender in SENDERS:
        sha256 = send(inbox, blob, sender=sender)
        assert inbox.share(sender).file(sha256).parent.parent == inbox.path / "partial"
    inbox.prepare()
    assert len(files(inbox)) == len(SENDERS)


def test_another_robots_rewards_are_refused_and_damaged_ones_come_again(inbox, blob):
    episode = codec.address(blob)
    record = pack_rewards(episode, "sawyer", "keys", {0: 1.0})
    with pytest.raises(Refused, match="is of robot 'sawyer', and robot 'arm' sent it"):
        inbox.finish(A, send(inbox, record), robot=A)
    sha256 = send(inbox, record, sender=B)
    assert inbox.finish(B, sha256, robot=B)
    assert inbox.is_stored(sha256)
    file = inbox.path / "rewards" / f"{sha256}.rewards"
    file.write_bytes(record[:-1] + b"\x00")
    assert restarted(inbox).rewards() == {}
    assert not restarted(inbox).is_stored(sha256)
    assert inbox.finish(B, send(inbox, record, sender=B), robot=B)
    assert list(inbox.rewards()) == [(episode, "sawyer")]
