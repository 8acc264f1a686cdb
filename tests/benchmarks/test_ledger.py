"""The ledger notices whatever a journal or an inbox has lost, doubled or damaged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from benchmarks.ledger import Ledger
from benchmarks.small_disk import NotPermitted, SmallDisk
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import Episode
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.inbox import Inbox

ROBOT, EPISODES, STEPS = "sawyer", 3, 4


@pytest.fixture
def journal(tmp_path, make_header, make_step, make_footer):
    """A journal of three finished episodes, all acknowledged."""
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as opened, opened.transaction():
        for number in range(1, EPISODES + 1):
            opened.begin(make_header(number))
            for index in range(STEPS):
                opened.add(number, codec.pack(make_step(index)))
            opened.finish(number, make_footer(STEPS))
    with Journal.open(path) as opened:
        for number in range(1, EPISODES + 1):
            opened.acknowledge(opened.blob(number)[0])
    return path


@pytest.fixture
def inbox(tmp_path, journal):
    """The inbox that has them."""
    folder = tmp_path / "inbox"
    Inbox(folder).prepare()
    with Journal.read(journal) as opened:
        for number in range(1, EPISODES + 1):
            sha256, blob = opened.blob(number)
            (folder / f"{sha256}.episode").write_bytes(blob)
    return folder


@pytest.fixture
def ledger(journal, inbox):
    return Ledger(journal, inbox, ROBOT)


def change(journal, statement):
    with closing(sqlite3.connect(journal)) as opened:
        opened.execute(statement)
        opened.commit()


def file_of(journal, inbox, number):
    with Journal.read(journal) as opened:
        return inbox / f"{opened.blob(number)[0]}.episode"


def test_what_is_there_once_is_no_problem(ledger):
    ledger.look()
    ledger.settle()
    assert ledger.problems == []
    counts = (ledger.episodes, ledger.steps, ledger.acknowledged, ledger.ingested)
    assert counts == (EPISODES, EPISODES * STEPS, EPISODES, EPISODES)


def test_an_episode_missing_from_the_inbox_is_lost(ledger, journal, inbox):
    file_of(journal, inbox, 2).unlink()
    ledger.settle()
    assert "episode 2 is not in the inbox" in ledger.lost
    assert "episode 2 has a receipt, and the inbox does not hold it" in ledger.lost


def test_an_episode_that_leaves_the_inbox_is_lost(ledger, journal, inbox):
    ledger.look()
    file_of(journal, inbox, 3).unlink()
    ledger.look()
    assert "episode 3 was in the inbox, and no longer is" in ledger.lost


def test_an_episode_that_came_twice_is_a_duplicate(ledger, journal, inbox):
    with Journal.read(journal) as opened:
        episode = opened.episode(2)
    footer = msgspec.structs.replace(episode.footer, fault="the same, ended again")
    parts = [codec.pack(part) for part in (episode.header, *episode.steps, footer)]
    blob = codec.join(parts[0], parts[1:-1], parts[-1])
    (inbox / f"{codec.address(blob)}.episode").write_bytes(blob)
    assert isinstance(codec.unpack_episode(blob), Episode)
    ledger.settle()
    assert ledger.duplicated == ["episode 2 is in the inbox 2 times"]


def test_other_robots_episodes_are_none_of_its_business(journal, inbox):
    other = Ledger(journal, inbox, "somebody else")
    other.look()
    assert other.ingested == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM steps WHERE episode = 4 AND step = 1",
        "UPDATE steps SET record = x'00' WHERE episode = 4 AND step = 1",
        "DELETE FROM steps WHERE episode = 4 AND step = 0",
    ],
)
def test_an_acknowledged_step_that_is_gone_or_another_is_lost(
    ledger, journal, make_header, make_step, statement
):
    with Journal.open(journal) as opened, opened.transaction():
        opened.begin(make_header(4))
        for index in range(2):
            opened.add(4, codec.pack(make_step(index)))
    ledger.look()
    assert ledger.problems == []
    assert ledger.open_steps() == 2
    change(journal, statement)
    ledger.look()
    assert any("episode 4 had 2 acknowledged steps" in lost for lost in ledger.lost)


def test_a_receipt_that_is_taken_back_is_lost(ledger, journal):
    ledger.look()
    change(journal, "UPDATE episodes SET receipt = NULL WHERE number = 1")
    ledger.settle()
    assert "episode 1 has lost its receipt" in ledger.lost
    assert "episode 1 has not been finished and acknowledged" in ledger.lost


def test_an_episode_that_was_never_there_leaves_a_gap(ledger, journal, inbox):
    file_of(journal, inbox, 2).unlink()
    change(journal, "DELETE FROM steps WHERE episode = 2")
    change(journal, "DELETE FROM episodes WHERE number = 2")
    ledger.settle()
    assert ledger.lost == ["episode 2 is missing, and a later one is there"]


def test_the_quota_may_delete_what_the_trainer_has_and_nothing_else(ledger, journal, inbox):
    ledger.look()
    for number in (1, 2):
        path = file_of(journal, inbox, number)
        change(journal, f"DELETE FROM steps WHERE episode = {number}")
        change(journal, f"DELETE FROM episodes WHERE number = {number}")
        if number == 2:
            path.unlink()
    ledger.look()
    assert "episode 2 was in the inbox, and no longer is" in ledger.lost
    assert not any("episode 1" in lost for lost in ledger.lost)


def test_damage_is_unreadable(ledger, journal, inbox):
    ledger.look()
    ledger.verify()
    assert ledger.unreadable == []
    (inbox / f"{'0' * 64}.episode").write_bytes(b"no episode")
    with journal.open("r+b") as file:
        file.seek(4_096)
        file.write(bytes(8_192))
    ledger.look()
    ledger.verify()
    assert any(str(inbox) in told for told in ledger.unreadable)
    assert any(str(journal) in told for told in ledger.unreadable)


def test_a_journal_that_a_full_disk_keeps_from_readers_is_whole_when_there_is_room(
    tmp_path, journal, inbox
):
    try:
        with SmallDisk(tmp_path / "disk", 2) as disk:
            ledger = Ledger(Path(shutil.copy(journal, disk.path)), inbox, ROBOT)
            disk.fill()
            ledger.look(disk_full=True)
            assert (ledger.refused, ledger.problems) == (1, [])
            disk.free()
            ledger.settle()
            assert ledger.problems == []
    except NotPermitted as error:
        pytest.skip(str(error))


def test_half_an_upload_that_is_left_over_is_a_loss(ledger, inbox):
    (inbox / "partial" / "some").write_bytes(b"half")
    ledger.settle()
    assert ledger.lost == [f"{inbox / 'partial' / 'some'} is left over"]
