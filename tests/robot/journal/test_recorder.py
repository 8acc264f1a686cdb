"""The recorder's promises: the loop never waits, and what is called durable is on the disk."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import time

import numpy as np
import pytest

from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal, JournalError
from fieldtune.robot.journal.recorder import Recorder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def run_episode(make_header, make_step, make_footer):
    def run(recorder, steps=5, width=3, end=True):
        number = recorder.next_number()
        recorder.begin(make_header(number))
        for index in range(steps):
            recorder.put(make_step(index, width))
        if end:
            recorder.end(make_footer(steps))
        return number

    return run


@contextlib.contextmanager
def stuck_disk(path):
    """Another connection keeps SQLite's write lock: no transaction can begin."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextlib.contextmanager
def full_disk(largest_file):
    """The kernel refuses to let any file of this process grow beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_put_is_in_the_journal_once_and_in_order(path, run_episode):
    with Recorder(path) as recorder:
        for _ in range(3):
            run_episode(recorder, steps=40)
        assert recorder.flush(60)
        assert recorder.durable_steps == 120
        assert recorder.queued_steps == 0
    with Journal.read(path) as journal:
        assert journal.pending() == [1, 2, 3]
        for number in (1, 2, 3):
            assert [step.index for step in journal.episode(number).steps] == list(range(40))


def test_steps_called_durable_can_be_read_by_another_connection(path, run_episode):
    with Recorder(path) as recorder, Journal.read(path) as reader:
        for _ in range(20):
            run_episode(recorder, steps=20)
            durable = recorder.durable_steps
            assert sum(entry.steps for entry in reader.entries()) >= durable


def test_put_does_not_wait_for_a_disk_that_is_stuck(path, run_episode):
    with Recorder(path) as recorder:
        with stuck_disk(path):
            run_episode(recorder, steps=500)
            assert recorder.durable_steps == 0
            assert recorder.queued_steps == 500
        assert recorder.flush(60)
        assert recorder.durable_steps == 500


def test_a_full_disk_is_told_and_nothing_is_lost_when_it_has_room_again(path, run_episode):
    with Recorder(path) as recorder:
        with full_disk(largest_file=200_000):
            run_episode(recorder, steps=300, width=400)
            wait_for(lambda: recorder.error)
            assert "free disk space" in recorder.error
            assert recorder.durable_steps < 300
        assert recorder.flush(60)
        assert recorder.error is None
    with Journal.read(path) as journal:
        assert len(journal.episode(1).steps) == 300
        assert find_problems(journal) == []


def test_steps_beyond_the_bound_are_told_at_once_and_in_the_footer(path, run_episode, make_footer):
    with Recorder(path, capacity_steps=10) as recorder:
        with stuck_disk(path):
            number = run_episode(recorder, steps=25, end=False)
            assert "15 steps of episode 1 were lost" in recorder.error
            recorder.end(make_footer(25))
        assert recorder.flush(60)
        assert recorder.error is None
        run_episode(recorder, steps=5)
    with Journal.read(path) as journal:
        lossy, whole = journal.episode(number), journal.episode(2)
    assert [step.index for step in lossy.steps] == list(range(10))
    assert lossy.footer.end_reason is EndReason.FAULT
    assert "15 steps of episode 1 were lost" in lossy.footer.fault
    assert whole.footer.end_reason is EndReason.HORIZON


def test_an_episode_open_at_close_is_interrupted_with_all_its_steps(path, run_episode):
    with Recorder(path) as recorder:
        run_episode(recorder, steps=30, end=False)
    with Recorder(path) as recorder:
        assert recorder.next_number() == 2
    with Journal.read(path) as journal:
        assert len(journal.episode(1).steps) == 30
        assert journal.episode(1).footer.end_reason is EndReason.INTERRUPTED


def test_close_says_when_the_disk_did_not_take_everything(path, run_episode):
    recorder = Recorder(path).start()
    with full_disk(largest_file=100_000):
        run_episode(recorder, steps=100, width=400)
        wait_for(lambda: recorder.error)
        assert recorder.close(flush_timeout_s=0.0) is False
    Journal.open(path).close()


def test_numbers_are_never_used_twice(path, run_episode, make_header):
    with Recorder(path) as recorder:
        assert run_episode(recorder) == 1
        with pytest.raises(ValueError, match="episode number 1 is used, expected 2 or more"):
            recorder.begin(make_header(1))
    with Recorder(path) as recorder:
        assert run_episode(recorder) == 2


def test_calls_out_of_order_are_explained(path, make_header, make_step, make_footer):
    with pytest.raises(ValueError, match=r"call start\(\) first"):
        Recorder(path).begin(make_header(1))
    with Recorder(path) as recorder:
        with pytest.raises(ValueError, match="step 0 belongs to no episode"):
            recorder.put(make_step(0))
        with pytest.raises(ValueError, match="no episode is open"):
            recorder.end(make_footer(0))
        recorder.begin(make_header(1))
        with pytest.raises(ValueError, match="episode 1 is open"):
            recorder.begin(make_header(2))


def test_a_numpy_value_is_refused_where_it_is_put(path, make_header, make_step):
    with Recorder(path) as recorder:
        recorder.begin(make_header(1))
        with pytest.raises(TypeError):
            recorder.put(make_step(0, observation=[np.float64(1.0)]))
        recorder.put(make_step(0))
        assert recorder.flush(60)
        assert recorder.durable_steps == 1


def test_a_step_out_of_order_stops_the_recording_and_says_so(path, make_header, make_step):
    with Recorder(path) as recorder:
        recorder.begin(make_header(1))
        recorder.put(make_step(3))
        wait_for(lambda: recorder.error)
        assert "index 3, expected 0" in recorder.error
        recorder.put(make_step(0))
        assert recorder.durable_steps == 0
        assert recorder.flush(60) is False


def test_a_journal_that_is_recorded_into_is_refused_at_start(path):
    with Recorder(path), pytest.raises(JournalError, match="records into this journal"):
        Recorder(path).start()


def test_an_unusable_path_is_refused_at_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="check the disk"):
        Recorder(tmp_path / "file" / "journal.sqlite").start()


def test_receipts_and_recording_do_not_disturb_each_other(path, run_episode):
    with Recorder(path) as recorder, Journal.attach(path) as beside:
        for _ in range(30):
            run_episode(recorder)
            for number in beside.pending():
                beside.acknowledge(beside.blob(number)[0])
        assert recorder.flush(60)
        for number in beside.pending():
            beside.acknowledge(beside.blob(number)[0])
        assert {entry.state for entry in beside.entries()} == {EntryState.ACKNOWLEDGED}
        assert recorder.error is None


def test_a_journal_whose_numbers_cannot_be_read_is_refused_and_not_waited_for(path, monkeypatch):
    def damaged(_):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "next_number", damaged)
    with pytest.raises(JournalError, match="malformed: check the disk"):
        Recorder(path).start()
    monkeypatch.undo()
    with Recorder(path) as recorder:  # the lock is free again
        assert recorder.next_number() == 1


def test_an_interrupted_episode_that_cannot_be_closed_keeps_nobody_out(
    path, run_episode, monkeypatch
):
    with Recorder(path) as recorder:
        run_episode(recorder, end=False)

    def damaged(*_):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "finish", damaged)
    with pytest.raises(JournalError, match="malformed: check the disk"):
        Recorder(path).start()
    monkeypatch.undo()
    with Recorder(path), Journal.read(path) as journal:  # the lock is free, and it is closed now
        assert journal.episode(1).footer.end_reason is EndReason.INTERRUPTED
