"""Rewards in the journal: beside the episode, never in it, and gone with it."""

from __future__ import annotations

import sqlite3

import pytest

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.rewards import unpack_rewards
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.file import SCHEMA_VERSION
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.quota import make_room


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def record(make_header, make_step, make_footer):
    def write(journal, steps=3):
        header = make_header(journal.next_number())
        with journal.transaction():
            journal.begin(header)
            for index in range(steps):
                journal.add(header.number, codec.pack(make_step(index)))
            journal.finish(header.number, make_footer(steps))
        return header.number

    return write


def as_written_by_schema_2(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "DROP TABLE rewards; DROP TABLE reward_uploads; PRAGMA user_version = 2;"
    )
    connection.close()


def test_rewards_come_back_by_step_and_leave_the_episode_as_it_was(path, record):
    with Journal.open(path) as journal:
        number = record(journal)
        before = journal.blob(number)
        journal.add_rewards(number, {0: -1.0, 2: 0.1}, "keys")
    with Journal.read(path) as journal:
        assert journal.rewards(number) == {0: -1.0, 2: 0.1}
        assert journal.rewards(number + 1) == {}
        assert journal.blob(number) == before
        assert find_problems(journal) == []


def test_a_step_rewarded_again_changes(path, record):
    with Journal.open(path) as journal:
        number = record(journal)
        journal.add_rewards(number, {0: 1.0, 1: 1.0}, "keys")
        journal.add_rewards(number, {1: 5.0}, "command")
        assert journal.rewards(number) == {0: 1.0, 1: 5.0}


@pytest.mark.parametrize("rewards", [{0: float("nan")}, {0: float("inf")}, {-1: 1.0}])
def test_what_is_no_reward_is_refused(path, record, rewards):
    with Journal.open(path) as journal:
        number = record(journal)
        with pytest.raises(JournalError, match=f"episode {number}"):
            journal.add_rewards(number, rewards, "keys")
        assert journal.rewards(number) == {}


def test_an_unknown_episode_is_refused(path, record):
    with Journal.open(path) as journal:
        record(journal)
        with pytest.raises(JournalError, match="begin the episode first"):
            journal.add_rewards(9, {0: 1.0}, "keys")


def test_rewards_go_with_their_episode_when_room_is_made(path, record):
    with Journal.open(path) as journal:
        first, second = record(journal), record(journal)
        for number in (first, second):
            journal.add_rewards(number, {0: 1.0}, "keys")
        journal.acknowledge(journal.blob(first)[0])
        make_room(journal, 0)  # the trainer has not its rewards yet
        assert [entry.number for entry in journal.entries()] == [first, second]
        journal.acknowledge_rewards(first, journal.rewards_blob(first)[0])
        make_room(journal, 0)
        assert [entry.number for entry in journal.entries()] == [second]
        assert (journal.rewards(first), journal.rewards(second)) == ({}, {0: 1.0})
        assert find_problems(journal) == []


def test_rewards_wait_until_the_trainer_has_their_episode_and_then_them(path, record):
    with Journal.open(path) as journal:
        number, other = record(journal), record(journal)
        journal.add_rewards(number, {0: 1.0, 2: -0.5}, "keys")
        journal.add_rewards(other, {}, "keys")
        assert journal.pending_rewards() == []
        episode = journal.blob(number)[0]
        journal.acknowledge(episode)
        journal.acknowledge(journal.blob(other)[0])
        assert journal.pending_rewards() == [number]
        sha256, blob = journal.rewards_blob(number)
        found = unpack_rewards(blob)
        assert (found.rewards_of, found.robot, found.source) == (episode, "sawyer", "keys")
        assert (found.by_step(), codec.address(blob)) == ({0: 1.0, 2: -0.5}, sha256)

        journal.add_rewards(number, {1: 9.0}, "keys")  # said while the others were under way
        journal.acknowledge_rewards(number, sha256)
        assert journal.pending_rewards() == [number]
        journal.acknowledge_rewards(number, journal.rewards_blob(number)[0])
        assert journal.pending_rewards() == []
        assert journal.offer_again(number, number, acknowledged=True) == [number]
        journal.acknowledge(episode)
        assert journal.pending_rewards() == [number]


def test_rewards_of_a_journal_of_schema_3_are_sent_too(path, record):
    with Journal.open(path) as journal:
        number = record(journal)
        journal.add_rewards(number, {0: 1.0}, "keys")
        journal.acknowledge(journal.blob(number)[0])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("DROP TABLE reward_uploads; PRAGMA user_version = 3;")
    connection.close()
    with Journal.read(path) as journal:
        assert (journal.rewards(number), journal.pending_rewards()) == ({0: 1.0}, [])
    with Journal.open(path) as journal:
        assert journal.pending_rewards() == [number]


def test_a_journal_of_schema_2_is_read_and_upgraded(path, record):
    with Journal.open(path) as journal:
        number = record(journal)
        blob = journal.blob(number)
    as_written_by_schema_2(path)
    with Journal.read(path) as journal:
        assert journal.rewards(number) == {}
        assert journal.blob(number) == blob
    with Journal.open(path) as journal:
        journal.add_rewards(number, {1: 2.0}, "keys")
        assert journal.rewards(number) == {1: 2.0}
        assert journal.blob(number) == blob
        version = journal.connection.execute("PRAGMA user_version").fetchone()
    assert version == (SCHEMA_VERSION,)
