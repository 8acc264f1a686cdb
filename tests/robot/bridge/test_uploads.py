"""Which episodes are spoken of when, without a connection: a real journal, and time as given."""

from __future__ import annotations

import logging

import pytest

from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.transfer import STALLED_S
from fieldtune.robot.bridge.uploads import Uploads
from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.rationed_log import RationedLog


@pytest.fixture
def journal(tmp_path, make_header, make_step, make_footer):
    """Two finished episodes."""
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        for _ in range(2):
            with journal.transaction():
                number = journal.begin(make_header(journal.next_number()))
                for index in range(4):
                    journal.add(number, codec.pack(make_step(index, 3)))
                journal.finish(number, make_footer(4))
        yield journal


def offered(uploads: Uploads, now: float) -> list[str]:
    return [body.sha256 for body in uploads.speak(now) if isinstance(body, wire.UploadOffer)]


def test_a_receipt_for_another_does_not_shorten_the_wait_for_the_trainers_disk(journal):
    uploads = Uploads(journal, RationedLog(logging.getLogger("test")))
    first, second = offered(uploads, 10.0)
    full = wire.Refusal(wire.RefusalKind.LATER, "disk full", first)
    assert uploads.take_refusal(full, 10.0)
    uploads.take_done(wire.UploadDone(second))
    assert offered(uploads, 10.0 + 0.9 * STALLED_S) == []
    assert offered(uploads, 10.0 + STALLED_S) == [first]
    assert not uploads.is_idle()
    uploads.take_done(wire.UploadDone(first))
    assert uploads.is_idle()


def said(uploads: Uploads, now: float) -> list[tuple[str, str]]:
    return [(type(body).__name__, body.sha256) for body in uploads.speak(now)]


def test_rewards_follow_once_the_trainer_has_their_episode(journal):
    journal.add_rewards(1, {0: 1.0}, "keys")
    journal.add_rewards(2, {0: 2.0}, "keys")
    uploads = Uploads(journal, RationedLog(logging.getLogger("test")))
    first, second = (sha256 for _, sha256 in said(uploads, 10.0))
    uploads.take_done(wire.UploadDone(first))
    rewards = journal.rewards_blob(1)[0]
    assert said(uploads, 11.0) == [("RewardsOffer", rewards)]
    uploads.take_done(wire.UploadDone(second))
    assert said(uploads, 11.1) == []  # one at a time until it is known to take them
    uploads.take_status(wire.UploadStatus(rewards, 0), 11.1)
    assert ("RewardsOffer", journal.rewards_blob(2)[0]) in said(uploads, 11.2)
    for number in (1, 2):
        assert not uploads.is_idle()
        uploads.take_done(wire.UploadDone(journal.rewards_blob(number)[0]))
    assert uploads.is_idle()
    assert journal.pending_rewards() == []


def test_a_trainer_of_before_rewards_gets_episodes_and_its_robot_keeps_them(journal):
    journal.add_rewards(1, {0: 1.0}, "keys")
    uploads = Uploads(journal, RationedLog(logging.getLogger("test")))
    assert not uploads.take_misunderstood()
    first, second = (sha256 for _, sha256 in said(uploads, 10.0))
    uploads.take_done(wire.UploadDone(first))
    assert [kind for kind, _ in said(uploads, 11.0)] == ["RewardsOffer"]
    assert uploads.take_misunderstood()
    assert not uploads.take_misunderstood()  # anything else that it does not understand is new
    uploads.take_done(wire.UploadDone(second))
    assert said(uploads, 20.0) == []
    assert uploads.is_idle()
    assert journal.pending_rewards() == [1]


def test_rewards_of_an_episode_the_disk_damaged_do_not_hold_up_the_others(journal, caplog):
    journal.add_rewards(1, {0: 1.0}, "keys")
    journal.add_rewards(2, {0: 2.0}, "keys")
    uploads = Uploads(journal, RationedLog(logging.getLogger("test")))
    for _, sha256 in said(uploads, 10.0):
        uploads.take_done(wire.UploadDone(sha256))
    with journal.transaction():
        journal.connection.execute("UPDATE episodes SET header = x'80' WHERE number = 1")
    second = journal.rewards_blob(2)[0]
    assert said(uploads, 11.0) == [("RewardsOffer", second)]
    assert "rewards of episode 1 stay on the robot" in caplog.text
    uploads.take_done(wire.UploadDone(second))
    assert uploads.is_idle()
