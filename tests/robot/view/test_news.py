"""Every step of a journal is news once, whenever somebody looks."""

from __future__ import annotations

import pytest

from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.view import news
from fieldtune.robot.view.news import Newsreader, trial_of_newest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    with Journal.open(path) as opened:
        yield opened


def begin(journal, header):
    with journal.transaction():
        journal.begin(header, 1)


def add(journal, number, *steps):
    with journal.transaction():
        journal.add(number, *map(codec.pack, steps))


def test_each_thing_is_told_once_as_it_comes(path, journal, make_header, make_step, make_footer):
    reader = Newsreader(path)
    assert reader.look() == []
    begin(journal, make_header(1))
    (one,) = reader.look()
    assert (one.begun, one.steps, one.rewards, one.ended) == (True, [], None, False)
    add(journal, 1, make_step(0), make_step(1))
    (one,) = reader.look()
    assert ([s.index for s in one.steps], one.begun, one.ended) == ([0, 1], False, False)
    assert reader.look() == []
    add(journal, 1, make_step(2))
    with journal.transaction():
        journal.finish(1, make_footer(3))
    (one,) = reader.look()
    assert ([s.index for s in one.steps], one.ended, one.rewards) == ([2], True, None)
    with journal.transaction():
        journal.add_rewards(1, {0: 1.0}, "somebody")
    (one,) = reader.look()
    assert (one.steps, one.rewards, one.ended) == ([], {0: 1.0}, False)
    with journal.transaction():
        journal.add_rewards(1, {0: 2.0}, "somebody")
    assert [one.rewards for one in reader.look()] == [{0: 2.0}]
    assert reader.look() == []


def test_a_long_journal_comes_in_pieces_and_all_of_it(
    path, journal, make_header, make_step, make_footer, monkeypatch
):
    monkeypatch.setattr(news, "AT_ONCE", 7)
    for number in range(1, 31):
        begin(journal, make_header(number))
        add(journal, number, *(make_step(i) for i in range(4)))
        with journal.transaction():
            journal.finish(number, make_footer(4))
    reader, found, ended = Newsreader(path, first=3, last=28), [], []
    while pieces := reader.look():
        assert sum(len(one.steps) for one in pieces) <= 7
        found += [(one.entry.number, s.index) for one in pieces for s in one.steps]
        ended += [one.entry.number for one in pieces if one.ended]
    assert found == [(number, i) for number in range(3, 29) for i in range(4)]
    assert ended == list(range(3, 29))


def test_a_live_look_begins_with_the_trial_under_way(path, journal, make_header):
    assert trial_of_newest(path) == 1
    for number, trial in ((1, 1), (2, 1), (3, 3), (4, 3)):
        begin(journal, make_header(number, trial=trial))
    assert trial_of_newest(path) == 3


def test_before_there_is_a_journal_there_is_no_news(tmp_path):
    assert Newsreader(tmp_path / "none.sqlite").look() == []
    assert trial_of_newest(tmp_path / "none.sqlite") == 1
