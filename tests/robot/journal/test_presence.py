"""A journal that is deleted, moved or cut off while it is recorded into is noticed, and saved."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from fieldtune.robot.config import ZHold
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.journal.rescue import copy_whole
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.programs.session import RobotSession

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state" / "journal.sqlite"
    path.parent.mkdir()
    return path


@pytest.fixture
def run_episode(make_header, make_step, make_footer):
    def run(recorder, steps=30, width=3):
        number = recorder.next_number()
        recorder.begin(make_header(number))
        for index in range(steps):
            recorder.put(make_step(index, width))
        recorder.end(make_footer(steps))
        assert recorder.flush(60)

    return run


def log(path):
    return path.with_name("journal.sqlite-wal")


def delete(path):
    path.unlink()


def delete_all(path):
    for file in path.parent.iterdir():
        file.unlink()


def delete_folder(path):
    """Renamed first: the recorder goes on writing, and rmtree would meet files that come and go."""
    path.parent.rename(path.parent.with_name("deleted"))
    shutil.rmtree(path.parent.with_name("deleted"))


def delete_log(path):
    log(path).unlink()


def delete_index(path):
    path.with_name("journal.sqlite-shm").unlink()


def delete_lock(path):
    path.with_name("journal.sqlite.lock").unlink()


def move(path):
    path.rename(path.with_name("taken.sqlite"))


def move_folder(path):
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace(path):
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def cut_log(path):
    os.truncate(log(path), 10_000)


def empty_log(path):
    os.truncate(log(path), 0)


def episodes_in(folder):
    """How many sound episodes the journals there hold, by file."""
    found = {}
    for file in folder.rglob("*.sqlite"):
        with Journal.read(file) as journal:
            if find_problems(journal) == []:
                found[file.name] = len(journal.entries())
    return found


@pytest.mark.parametrize(
    "harm",
    [
        delete,
        delete_all,
        delete_folder,
        delete_log,
        delete_index,
        delete_lock,
        move,
        move_folder,
        replace,
        cut_log,
        empty_log,
    ],
)
def test_a_lost_journal_is_told_with_the_next_episode_and_nothing_is_gone(
    path, run_episode, harm, caplog
):
    with Recorder(path) as recorder:
        for _ in range(3):
            run_episode(recorder)
        assert recorder.error is None
        harm(path)
        run_episode(recorder)
        assert "while the journal was recorded into" in recorder.error
        run_episode(recorder)  # what comes until the robot is at rest is recorded all the same
        assert recorder.close() is False
        assert "all that was recorded is" in recorder.error
    assert 5 in episodes_in(path.parent.parent).values()
    assert caplog.text.count("while the journal was recorded into") == 1


def test_what_is_put_in_the_place_of_a_journal_is_not_spoilt_by_its_log(path, run_episode):
    with Recorder(path) as recorder:
        for _ in range(3):
            run_episode(recorder, steps=300, width=500)
        backup = path.with_name("backup")
        with Journal.read(path) as journal:
            copy_whole(journal, backup)
        for _ in range(3):
            run_episode(recorder, steps=300, width=500)
        backup.replace(path)
        assert recorder.close() is False
    with Journal.open(path) as journal:
        assert find_problems(journal) == []
        assert len(journal.entries()) == 3
    assert 6 in episodes_in(path.parent).values()


def test_a_journal_cut_off_is_told_and_what_can_be_saved_is_saved(path, run_episode):
    with Recorder(path) as recorder:
        for _ in range(3):
            run_episode(recorder, steps=300, width=500)  # more than SQLite's log holds
        os.truncate(path, 100_000)
        run_episode(recorder)
        assert "journal.sqlite was cut off" in recorder.error
        assert "100000 bytes, expected" in recorder.error
        assert recorder.close() is False
        assert "which is damaged" in recorder.error
    (saved,) = path.parent.glob("journal-rescued-*.sqlite")
    assert saved.stat().st_size > 500_000


def test_a_journal_that_goes_after_the_last_episode_is_told_at_the_end(path, run_episode):
    with Recorder(path) as recorder:
        run_episode(recorder)
        path.unlink()
        assert recorder.close() is False
        assert "is gone" in recorder.error


def test_a_journal_that_cannot_be_saved_says_so(path, run_episode):
    with Recorder(path) as recorder:
        run_episode(recorder)
        file, deleted = path.parent.with_name("file"), path.parent.with_name("deleted")
        file.touch()
        path.parent.rename(deleted)
        file.rename(path.parent)  # a file where the folder was
        shutil.rmtree(deleted)
        assert recorder.close() is False
        assert "what it held could not be saved in" in recorder.error


def test_a_journal_that_its_quota_shortens_is_not_taken_for_cut_off(path, run_episode):
    with Recorder(path, quota_bytes=400_000) as recorder, Journal.attach(path) as trainer:
        longest = 0
        for _ in range(12):
            run_episode(recorder, steps=100, width=200)
            for number in trainer.pending():
                trainer.acknowledge(trainer.blob(number)[0])
            longest = max(longest, path.stat().st_size)
        run_episode(recorder)
        assert recorder.error is None
        assert recorder.close()
    assert path.stat().st_size < longest


def test_a_log_that_sqlite_itself_empties_is_not_taken_for_cut_off(path, run_episode):
    with Recorder(path) as recorder:
        run_episode(recorder)
        other = sqlite3.connect(path)
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        assert log(path).stat().st_size == 0
        other.close()
        run_episode(recorder)
        assert recorder.error is None
        assert recorder.close()


@pytest.mark.parametrize("at", [3, 10], ids=["in an episode", "at the last step of all"])
def test_a_daemon_whose_journal_is_deleted_does_not_end_as_if_all_were_well(
    config, mass, point_bundle, at
):
    def trouble(robot):
        if len(robot.commands) == at - 1:
            config.journal.unlink()

    mass.trouble = trouble
    point_bundle()
    summary = Daemon(config, mass, episodes=2).run()
    assert "journal.sqlite is gone" in summary.fault
    assert "all that was recorded is saved in" in summary.fault
    assert mass.held
    (saved,) = config.state_dir.glob("journal-rescued-*.sqlite")
    with Journal.read(saved) as journal:
        assert find_problems(journal) == []
        assert sum(entry.steps for entry in journal.entries()) == len(mass.commands)


def test_a_session_whose_journal_is_deleted_is_not_well(config, mass, point_bundle):
    def trouble(robot):
        if len(robot.commands) == 2:
            config.journal.unlink()

    mass.trouble = trouble
    robot = RobotSession(config, mass, "acting on task push")
    with robot.ready(point_bundle()):
        robot.episode(GaussianPosterior.prior(2), trial=1, hold=ZHold.EPISODE, noise=False)
    assert "journal.sqlite is gone" in robot.fault
    assert "all that was recorded is saved in" in robot.fault
