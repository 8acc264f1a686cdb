"""Rewards in the journal: beside the episode, never in it, and gone with it."""

from __future__ import annotations

import sqlite3

import pytest

from fieldtune.robot.episodes import codec
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
    connection.executescript("DROP TABLE rewards; PRAGMA user_version = 2;")
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
        make_room(journal, 0)
        assert [entry.number for entry in journal.entries()] == [second]
        assert (journal.rewards(first), journal.rewards(second)) == ({}, {0: 1.0})
        assert find_problems(journal) == []


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
