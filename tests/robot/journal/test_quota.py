"""The quota's promises: what was not acknowledged stays, whatever the quota, whoever is killed."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.file import SCHEMA_VERSION
from fieldtune.robot.journal.journal import EntryState, Journal
from fieldtune.robot.journal.quota import make_room
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.programs.explore import Daemon
from fieldtune.train.bridge.hub import Hub

ROOT = Path(__file__).parents[3]
KB = 1000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def record(make_header, make_step, make_footer):
    """Write one whole episode of about 40 kB."""

    def write(journal, state=EntryState.PENDING, steps=8):
        with journal.transaction():
            number = journal.begin(make_header(journal.next_number()))
            for index in range(steps):
                journal.add(number, codec.pack(make_step(index, width=200)))
            sha256 = journal.finish(number, make_footer(steps))
        if state is EntryState.ACKNOWLEDGED:
            journal.acknowledge(sha256)
        elif state is EntryState.REJECTED:
            journal.reject(sha256, "no")
        return number

    return write


@pytest.fixture
def put_episode(make_header, make_step, make_footer):
    """The same through a recorder."""

    def put(recorder, steps=8):
        number = recorder.next_number()
        recorder.begin(make_header(number))
        for index in range(steps):
            recorder.put(make_step(index, width=200))
        recorder.end(make_footer(steps))
        return number

    return put


def settle(journal, quota_bytes):
    while not (room := make_room(journal, quota_bytes)).settled:
        pass
    return room


def numbers(journal):
    return [entry.number for entry in journal.entries()]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def acknowledge_all(path):
    with Journal.attach(path) as journal:
        for number in journal.pending():
            journal.acknowledge(journal.blob(number)[0])


def test_the_oldest_acknowledged_go_until_the_rest_fits(path, record):
    with Journal.open(path) as journal:
        for _ in range(12):
            record(journal, EntryState.ACKNOWLEDGED)
        room = settle(journal, 250 * KB)
        assert room.used_bytes <= 250 * KB
        assert not room.full
        left = numbers(journal)
        assert 1 < len(left) < 12
        assert left == list(range(13 - len(left), 13))
        assert find_problems(journal) == []


def test_below_the_quota_nothing_goes(path, record):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal, EntryState.ACKNOWLEDGED)
        assert settle(journal, 10_000 * KB).deleted == 0
        assert numbers(journal) == [1, 2, 3, 4, 5]


def test_what_was_not_acknowledged_never_goes(path, record):
    states = [EntryState.PENDING, EntryState.ACKNOWLEDGED, EntryState.REJECTED] * 3
    with Journal.open(path) as journal:
        before = {record(journal, state): state for state in states}
        blobs = {number: journal.blob(number) for number in before}
        room = settle(journal, 0)
        assert room.full
        assert room.kept == 6
        kept = [n for n, state in before.items() if state is not EntryState.ACKNOWLEDGED]
        assert numbers(journal) == kept
        assert {n: journal.blob(n) for n in kept} == {n: blobs[n] for n in kept}


def test_an_open_episode_never_goes(path, record, make_header):
    with Journal.open(path) as journal:
        record(journal, EntryState.ACKNOWLEDGED)
        with journal.transaction():
            journal.begin(make_header(2))
        settle(journal, 0)
        assert numbers(journal) == [2]


def test_numbers_are_not_used_again_when_all_before_are_gone(path, record):
    with Journal.open(path) as journal:
        for _ in range(4):
            record(journal, EntryState.ACKNOWLEDGED)
        assert not settle(journal, 0).full
        assert numbers(journal) == [4]
    with Journal.open(path) as journal:
        assert journal.next_number() == 5


def test_the_file_itself_gets_shorter(path, record):
    with Journal.open(path) as journal:
        for _ in range(20):
            record(journal, EntryState.ACKNOWLEDGED)
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.stat().st_size
        settle(journal, 100 * KB)
        assert before > 700 * KB
        assert path.stat().st_size <= 100 * KB


def test_free_space_that_unacknowledged_data_leaves_is_given_back_too(path, record):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal)
        for _ in range(20):
            record(journal, EntryState.ACKNOWLEDGED)
        record(journal)
        room = settle(journal, 100 * KB)
        assert room.full
        assert path.stat().st_size <= room.used_bytes


def test_one_piece_of_work_is_small_and_gets_on(path, record):
    with Journal.open(path) as journal:
        for _ in range(6):
            record(journal, EntryState.ACKNOWLEDGED)
        room = make_room(journal, 0, piece_s=0.0)
        assert (room.deleted, room.settled, room.full) == (1, False, False)
        assert numbers(journal) == [2, 3, 4, 5, 6]


def as_written_by_schema_1(path):
    """What the first version of the journal left on the disk: no wall clock, no way to shrink."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = DELETE; ALTER TABLE episodes DROP COLUMN wall_ns;"
        "DROP TABLE rewards; DROP TABLE reward_uploads;"
        "PRAGMA user_version = 1; PRAGMA auto_vacuum = NONE; VACUUM;"
    )
    connection.close()


def test_a_journal_of_schema_1_is_read_upgraded_and_can_shrink(path, record):
    with Journal.open(path) as journal:
        for _ in range(20):
            record(journal, EntryState.ACKNOWLEDGED)
        blob = journal.blob(20)
    as_written_by_schema_1(path)
    with Journal.read(path) as journal:
        assert {entry.wall_ns for entry in journal.entries()} == {None}
        assert find_problems(journal) == []
    with Journal.open(path) as journal:
        version = journal.connection.execute("PRAGMA user_version").fetchone()
        assert version == (SCHEMA_VERSION,)
        assert journal.blob(20) == blob
        settle(journal, 100 * KB)
        assert path.stat().st_size <= 100 * KB
        assert record(journal) == 21
        assert find_problems(journal) == []


def test_the_wall_clock_is_beside_the_episode_and_not_in_it(path, make_header, make_footer):
    shas = []
    with Journal.open(path) as journal:
        for wall_ns in (None, 1_700_000_000_000_000_000):
            with journal.transaction():
                header = make_header(journal.next_number())
                journal.begin(header, wall_ns)
                shas.append(codec.address(codec.join(codec.pack(header), [], b"")))
                journal.finish(header.number, make_footer(0))
        assert [entry.wall_ns for entry in journal.entries()] == [None, 1_700_000_000_000_000_000]
        blob = journal.blob(2)[1]
    assert b"wall" not in blob


def test_the_recorder_makes_room_after_each_episode(path, put_episode):
    with Recorder(path, quota_bytes=200 * KB) as recorder:
        for _ in range(15):
            put_episode(recorder)
            assert recorder.flush(60)
            acknowledge_all(path)
        put_episode(recorder)
        wait_for(lambda: path.stat().st_size <= 250 * KB)
        assert recorder.full is None
    with Journal.read(path) as journal:
        assert numbers(journal)[-1] == 16
        assert journal.pending() == [16]
        assert len(numbers(journal)) < 8


def test_a_full_quota_is_said_once_recording_goes_on_and_receipts_end_it(path, put_episode, caplog):
    caplog.set_level(logging.INFO)
    with Recorder(path, quota_bytes=100 * KB) as recorder:
        for _ in range(8):
            put_episode(recorder)
            assert recorder.flush(60)
        wait_for(lambda: recorder.full)
        assert "not acknowledged fill the quota" in recorder.full
        assert "robot.journal_quota_mb" in recorder.full
        assert recorder.error is None
        with Journal.read(path) as journal:
            assert journal.pending() == [1, 2, 3, 4, 5, 6, 7, 8]
        acknowledge_all(path)
        wait_for(lambda: recorder.full is None)
    said = [record for record in caplog.records if "fill the quota" in record.message]
    assert [record.levelname for record in said] == ["ERROR"]
    assert "has room again" in caplog.text


def test_a_quota_that_is_full_at_start_is_known_at_once(path, record):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal)
    with Recorder(path, quota_bytes=100 * KB) as recorder:
        assert recorder.full is not None


def test_bundles_beside_the_journal_are_part_of_the_quota(path, put_episode, tmp_path):
    beside = tmp_path / "bundles"
    beside.mkdir()
    (beside / "walk.bundle").write_bytes(bytes(250 * KB))
    with Recorder(path, quota_bytes=450 * KB, beside=beside) as recorder:
        for _ in range(15):
            put_episode(recorder)
            assert recorder.flush(60)
            acknowledge_all(path)
        put_episode(recorder)
        wait_for(lambda: path.stat().st_size <= 250 * KB)
    assert (beside / "walk.bundle").stat().st_size == 250 * KB


def test_a_robot_whose_bundles_and_episodes_fill_the_quota_says_which(
    config, mass, point_bundle, record
):
    point_bundle()
    (config.bundles / "large.bundle").write_bytes(bytes(900 * KB))
    os.utime(config.bundles / "large.bundle", ns=(0, 0))
    config = config.model_copy(update={"journal_quota_mb": 1})
    with Journal.open(config.journal) as journal:
        for _ in range(5):
            record(journal)
    summary = Daemon(config, mass, episodes=1).run()
    assert summary.episodes == 0
    assert f"0.9 MB in {config.bundles}" in summary.fault


def test_steps_are_taken_while_room_cannot_be_made(path, put_episode, record):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal, EntryState.ACKNOWLEDGED)
    with Recorder(path, quota_bytes=10_000 * KB) as recorder:
        recorder._quota.quota_bytes = 0
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        put_episode(recorder, steps=200)
        assert recorder.queued_steps == 200
        other.execute("ROLLBACK")
        other.close()
        assert recorder.flush(60)
    with Journal.read(path) as journal:
        assert journal.pending() == [6]


def test_without_a_quota_nothing_is_deleted(path, put_episode):
    with Recorder(path) as recorder:
        for _ in range(4):
            put_episode(recorder)
        assert recorder.flush(60)
        acknowledge_all(path)
        put_episode(recorder)
    with Journal.read(path) as journal:
        assert numbers(journal) == [1, 2, 3, 4, 5]


def test_the_quota_is_read_from_the_config():
    config = RobotConfig(name="a", family="b", journal_quota_mb=3)
    assert config.journal_quota_bytes == 3_000_000
    assert config.bundle_quota_bytes == 1_500_000
    assert RobotConfig(name="a", family="b").journal_quota_bytes == 10_000_000_000
    without = RobotConfig(name="a", family="b", journal_quota_mb=None)
    assert (without.journal_quota_bytes, without.bundle_quota_bytes) == (None, None)
    with pytest.raises(ValueError, match="journal_quota_mb"):
        RobotConfig(name="a", family="b", journal_quota_mb=0)


@pytest.fixture
def full_of_unacknowledged(config, record):
    """A robot with a quota of 1 MB, and more than that in its journal."""
    with Journal.open(config.journal) as journal:
        for _ in range(5):
            record(journal, steps=60)
    return config.model_copy(update={"journal_quota_mb": 1})


def test_alone_with_a_full_quota_a_robot_does_not_begin(full_of_unacknowledged, mass, point_bundle):
    point_bundle()
    summary = Daemon(full_of_unacknowledged, mass, episodes=2).run()
    assert summary.episodes == 0
    assert "fill the quota" in summary.fault
    assert mass.commands == []


def test_with_a_full_quota_a_robot_rests_until_the_trainer_has_taken_it(
    full_of_unacknowledged, mass, point_bundle, tmp_path
):
    point_bundle()
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        config = full_of_unacknowledged.model_copy(update={"bridge": hub.address})
        summary = Daemon(config, mass, episodes=2).run()
        assert summary.fault == ""
        assert (summary.episodes, summary.uploaded) == (2, True)
        assert len(list((tmp_path / "inbox").glob("*.episode"))) == 7


@pytest.mark.slow
def test_a_kill_while_room_is_made_loses_nothing_unacknowledged(path):
    """A real process that records, acknowledges and prunes as fast as it can, killed 25 times."""
    kept: dict[int, str] = {}
    acknowledged: set[int] = set()
    rng, largest, pruning_when_killed = random.Random(0), 0, 0
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "pruning_process.py"), str(path)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [process.stdout.readline() for _ in range(rng.randint(20, 60))]
        while lines[-1].split() != ["prune"]:
            lines.append(process.stdout.readline())
        time.sleep(rng.uniform(0.0, 0.004))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        lines += rest.splitlines(keepends=True)
        whole = [line.split() for line in lines if line.endswith("\n")]
        pruning_when_killed += whole[-1] == ["prune"]
        for word, *arguments in whole:
            if word == "keep":
                kept[int(arguments[0])] = arguments[1]
            elif word == "acknowledged":
                acknowledged.add(int(arguments[0]))
        with Journal.open(path) as journal:
            assert find_problems(journal) == []
            found = {entry.number: entry for entry in journal.entries()}
            for number, sha256 in kept.items():
                assert found[number].state is EntryState.PENDING
                assert journal.blob(number)[0] == sha256
            assert journal.next_number() > largest
            largest = max(found)
    assert pruning_when_killed > 0
    assert len(acknowledged - set(found)) > 50
    assert len(kept) > 20
