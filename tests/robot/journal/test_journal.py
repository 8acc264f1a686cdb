"""The journal's promises: nothing finished is lost, nothing is there twice, bytes stay the same."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import (
    EndReason,
    Episode,
    EpisodeFooter,
    EpisodeHeader,
    Mode,
    Step,
)
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.entry import DamagedEpisode, EntryState
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.overview import overview
from fieldtune.robot.journal.quota import make_room
from fieldtune.robot.journal.recovery import close_interrupted


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def record(make_header, make_step, make_footer):
    """Write one whole episode; `end=False` leaves it open."""

    def write(journal, steps=3, end=True):
        with journal.transaction():
            number = journal.begin(make_header(journal.next_number()))
            for index in range(steps):
                journal.add(number, codec.pack(make_step(index)))
            if end:
                journal.finish(number, make_footer(steps))
        return number

    return write


def test_a_finished_episode_reads_back_as_it_was_written(path, record, make_episode):
    with Journal.open(path) as journal:
        assert journal.episode(record(journal)) == make_episode(1)


def test_the_blob_is_the_episodes_own_encoding_named_by_its_hash(path, record, make_episode):
    with Journal.open(path) as journal:
        sha256, blob = journal.blob(record(journal))
    assert blob == msgspec.msgpack.encode(make_episode(1))
    assert sha256 == codec.address(blob)


def test_the_blob_is_the_same_after_every_restart(path, record):
    with Journal.open(path) as journal:
        first = journal.blob(record(journal))
    for _ in range(3):
        with Journal.open(path) as journal:
            assert journal.blob(1) == first


def test_numbers_go_on_after_a_restart(path, record):
    with Journal.open(path) as journal:
        assert [record(journal), record(journal)] == [1, 2]
    with Journal.open(path) as journal:
        assert journal.next_number() == 3


def test_an_episode_left_open_is_closed_as_interrupted_with_its_last_observation(path, record):
    with Journal.open(path) as journal:
        record(journal, steps=4, end=False)
    with Journal.open(path) as journal:
        close_interrupted(journal)
        episode = journal.episode(1)
    assert episode.footer.end_reason is EndReason.INTERRUPTED
    assert episode.footer.steps == len(episode.steps) == 4
    assert episode.footer.final_observation == episode.steps[-1].observation
    assert episode.footer.clock_offset_ns is None


def test_an_episode_without_a_step_is_closed_as_interrupted_too(path, record):
    with Journal.open(path) as journal:
        record(journal, steps=0, end=False)
    with Journal.open(path) as journal:
        close_interrupted(journal)
        assert journal.episode(1).footer.final_observation == []
        assert journal.pending() == [1]


def test_pending_are_the_finished_without_receipt_oldest_first(path, record):
    with Journal.open(path) as journal:
        for _ in range(4):
            record(journal)
        record(journal, end=False)
        journal.acknowledge(journal.blob(2)[0])
        journal.reject(journal.blob(3)[0], "not sound")
        assert journal.pending() == [1, 4]
        assert journal.pending(1) == [1]
        states = [entry.state for entry in journal.entries()]
    assert states == [
        EntryState.PENDING,
        EntryState.ACKNOWLEDGED,
        EntryState.REJECTED,
        EntryState.PENDING,
        EntryState.OPEN,
    ]


def test_a_receipt_survives_a_restart_and_a_repeat_changes_nothing(path, record):
    with Journal.open(path) as journal:
        sha256 = journal.blob(record(journal))[0]
        journal.acknowledge(sha256)
    with Journal.open(path) as journal:
        journal.acknowledge(sha256)
        journal.reject(sha256, "too late to say so")
        assert [entry.state for entry in journal.entries()] == [EntryState.ACKNOWLEDGED]


def test_a_rejected_episode_is_kept_with_the_reason(path, record):
    with Journal.open(path) as journal:
        record(journal)
        journal.reject(journal.blob(1)[0], "its steps are not numbered")
        assert journal.entries()[0].reason == "its steps are not numbered"
        assert len(journal.episode(1).steps) == 3


def test_a_receipt_for_an_unknown_hash_is_refused(path):
    with Journal.open(path) as journal, pytest.raises(JournalError, match="no finished episode"):
        journal.acknowledge("0" * 64)


def test_a_used_number_is_refused(path, record, make_header):
    with Journal.open(path) as journal:
        record(journal)
        with pytest.raises(JournalError, match=r"episode 1 exists already.*next free number is 2"):
            journal.begin(make_header(1))


@pytest.mark.parametrize("index", [0, 2])
def test_a_step_out_of_order_is_refused(path, record, make_step, index):
    with Journal.open(path) as journal:
        number = record(journal, steps=1, end=False)
        with pytest.raises(JournalError, match=f"index {index}, expected 1"):
            journal.add(number, codec.pack(make_step(index)))


def test_a_step_after_the_end_is_refused(path, record, make_step):
    with Journal.open(path) as journal:
        number = record(journal)
        with pytest.raises(JournalError, match="episode 1 is not open"):
            journal.add(number, codec.pack(make_step(3)))


def test_a_footer_that_counts_otherwise_is_refused(path, record, make_footer):
    with Journal.open(path) as journal:
        number = record(journal, steps=2, end=False)
        with pytest.raises(JournalError, match=r"footer.steps=3, but 2 were added"):
            journal.finish(number, make_footer(3))


def test_bytes_that_are_no_step_are_never_stored(path, record):
    with Journal.open(path) as journal:
        number = record(journal, steps=1, end=False)
        with pytest.raises(JournalError, match="not a step"):
            journal.add(number, b"\x80")
    with Journal.open(path) as journal:
        assert find_problems(journal) == []


def test_of_steps_that_come_together_none_is_added_where_one_is_wrong(path, record, make_step):
    good = [codec.pack(make_step(index)) for index in range(3)]
    with Journal.open(path) as journal:
        number = record(journal, steps=0, end=False)
        for wrong in ([*good, b"\x80"], [*good, good[0]], [good[1]]):
            with pytest.raises(JournalError):
                journal.add(number, *wrong)
            assert journal.steps(number) == []
        journal.add(number, *good)
        assert [step.index for step in journal.steps(number)] == [0, 1, 2]


def test_a_transaction_that_fails_leaves_nothing(path, make_header, make_step):
    with Journal.open(path) as journal:
        with pytest.raises(JournalError), journal.transaction():  # noqa: PT012
            journal.begin(make_header(1))
            journal.add(1, codec.pack(make_step(5)))
        assert journal.entries() == []


def test_every_transaction_is_synced_in_full(path):
    with Journal.open(path) as journal:
        pragma = journal.connection.execute
        assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
        assert pragma("PRAGMA synchronous").fetchone() == (2,)
        assert pragma("PRAGMA foreign_keys").fetchone() == (1,)


def test_an_unknown_schema_version_is_refused_and_left_alone(path):
    Journal.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    for opened in (Journal.open, Journal.attach, Journal.read):
        with pytest.raises(JournalError, match="schema version 99 is unknown, expected 4"):
            opened(path)
    assert path.read_bytes() == before


def test_a_database_of_others_is_refused_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="no Fieldtune journal"):
        Journal.open(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(os.urandom(5000))
    before = path.read_bytes()
    with pytest.raises(JournalError, match="cannot be read as a journal"):
        Journal.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [Journal.attach, Journal.read])
def test_a_missing_journal_is_not_created_by_a_reader(path, opened):
    with pytest.raises(JournalError, match="no such journal"):
        opened(path)
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="check the disk"):
        Journal.open(tmp_path / "file" / "journal.sqlite")


def test_a_second_recorder_is_refused_by_the_first_ones_process_number(path):
    with (
        Journal.open(path),
        pytest.raises(JournalError, match=f"process {os.getpid()} records into this journal"),
    ):
        Journal.open(path)
    Journal.open(path).close()


def _try_to_open(path, results):
    try:
        Journal.open(path).close()
        results.put("opened")
    except JournalError as error:
        results.put(str(error))


def test_a_second_recording_process_is_refused(path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with Journal.open(path):
        process = context.Process(target=_try_to_open, args=(path, results))
        process.start()
        assert f"process {os.getpid()} records" in results.get(timeout=60)
        process.join()


def test_readers_see_what_is_durable_while_the_daemon_records(path, record, make_header):
    with Journal.open(path) as journal, Journal.read(path) as reader:
        record(journal)
        assert [entry.number for entry in reader.entries()] == [1]
        with journal.transaction():
            journal.begin(make_header(2))
            assert [entry.number for entry in reader.entries()] == [1]
        assert find_problems(reader) == []


def test_a_reader_cannot_write(path, record):
    with Journal.open(path) as journal, Journal.read(path) as reader:
        sha256 = journal.blob(record(journal))[0]
        with pytest.raises(sqlite3.OperationalError):
            reader.acknowledge(sha256)


def test_receipts_are_noted_beside_the_recorder(path, record):
    with Journal.open(path) as journal, Journal.attach(path) as beside:
        record(journal)
        beside.acknowledge(beside.blob(1)[0])
        assert journal.pending() == []


def test_verify_names_an_episode_that_the_disk_changed(path, record):
    with Journal.open(path) as journal:
        record(journal)
        record(journal)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE steps SET record = ? WHERE episode = 2 AND step = 1", (b"\x80",))
    connection.commit()
    connection.close()
    with Journal.read(path) as journal:
        (problem,) = find_problems(journal)
        assert "episode 2 no longer has the bytes" in problem
        with pytest.raises(DamagedEpisode):
            journal.blob(2)


finite = st.floats(allow_nan=False)
vectors = st.lists(finite, max_size=5)
counts = st.integers(0, 2**62)
texts = st.text(max_size=20)


@st.composite
def episodes(draw):
    widths = [draw(st.integers(0, 4)) for _ in range(4)]
    n = draw(st.integers(0, 5))

    def vector(width):
        return draw(st.lists(finite, min_size=width, max_size=width))

    steps = [
        Step(
            index=index,
            sense_ns=draw(counts),
            observation=vector(widths[0]),
            observation_age_ns=draw(counts),
            requested=vector(widths[1]),
            applied=vector(widths[2]),
            reason=draw(texts),
            z=vector(widths[3]),
            infer_ns=draw(counts),
            apply_ns=draw(counts),
            overrun=draw(st.booleans()),
        )
        for index in range(n)
    ]
    header = EpisodeHeader(
        robot=draw(texts),
        family=draw(texts),
        boot_session=draw(texts),
        number=draw(st.integers(1, 2**62)),
        trial=draw(counts),
        bundle_id=draw(texts),
        mode=draw(st.sampled_from(Mode)),
        seed=draw(counts),
        started_ns=draw(counts),
        period_s=draw(finite),
    )
    footer = EpisodeFooter(
        end_reason=draw(st.sampled_from(EndReason)),
        steps=n,
        final_observation=draw(vectors),
        clock_offset_ns=draw(st.none() | st.integers(-(2**62), 2**62)),
        clock_uncertainty_ns=draw(st.none() | counts),
        fault=draw(texts),
    )
    return Episode(header, steps, footer)


@given(episode=episodes())
@settings(deadline=None, max_examples=50)
def test_any_episode_comes_back_bit_for_bit(tmp_path_factory, episode):
    path = tmp_path_factory.mktemp("any") / "journal.sqlite"
    with Journal.open(path) as journal:
        with journal.transaction():
            number = journal.begin(episode.header)
            for step in episode.steps:
                journal.add(number, codec.pack(step))
            sha256 = journal.finish(number, episode.footer)
        assert journal.blob(number) == (sha256, msgspec.msgpack.encode(episode))
        assert journal.episode(number) == episode


class JournalMachine(RuleBasedStateMachine):
    """Any order of recording, receipts and restarts, held against a plain dictionary."""

    def __init__(self):
        super().__init__()
        self.folder = self.new_folder()
        self.journal = Journal.open(self.folder / "journal.sqlite")
        self.steps: dict[int, int] = {}
        self.state: dict[int, EntryState] = {}
        self.blobs: dict[int, tuple[str, bytes]] = {}

    def open_episode(self):
        return next((n for n, state in self.state.items() if state is EntryState.OPEN), None)

    @precondition(lambda self: self.open_episode() is None)
    @rule()
    def begin(self):
        number = self.journal.next_number()
        with self.journal.transaction():
            self.journal.begin(self.header(number))
        self.steps[number], self.state[number] = 0, EntryState.OPEN

    @precondition(lambda self: self.open_episode() is not None)
    @rule(n=st.integers(1, 4))
    def add(self, n):
        number = self.open_episode()
        with self.journal.transaction():
            for _ in range(n):
                self.journal.add(number, codec.pack(self.step(self.steps[number])))
                self.steps[number] += 1

    @precondition(lambda self: self.open_episode() is not None)
    @rule()
    def finish(self):
        number = self.open_episode()
        with self.journal.transaction():
            self.journal.finish(number, self.footer(self.steps[number]))
        self.state[number] = EntryState.PENDING

    @precondition(lambda self: self.open_episode() is not None)
    @rule()
    def fail_in_a_transaction(self):
        number = self.open_episode()
        record = codec.pack(self.step(self.steps[number]))
        with pytest.raises(JournalError), self.journal.transaction():  # noqa: PT012
            self.journal.add(number, record)
            self.journal.add(number, record)

    @precondition(lambda self: EntryState.PENDING in self.state.values())
    @rule(rejected=st.booleans())
    def receive(self, rejected):
        number = self.journal.pending(1)[0]
        sha256 = self.journal.blob(number)[0]
        with Journal.attach(self.journal.path) as beside:
            beside.reject(sha256, "no") if rejected else beside.acknowledge(sha256)
        self.state[number] = EntryState.REJECTED if rejected else EntryState.ACKNOWLEDGED

    @rule()
    def make_room(self):
        while not make_room(self.journal, 0).settled:
            pass
        gone = [n for n, state in self.state.items() if state is EntryState.ACKNOWLEDGED]
        for number in set(gone) - {max(self.state, default=0)}:
            del self.steps[number], self.state[number], self.blobs[number]

    @rule()
    def restart(self):
        self.journal.close()
        self.journal = Journal.open(self.folder / "journal.sqlite")
        close_interrupted(self.journal)
        if (number := self.open_episode()) is not None:
            self.state[number] = EntryState.PENDING

    @invariant()
    def says_what_happened(self):
        found = {entry.number: (entry.steps, entry.state) for entry in self.journal.entries()}
        assert found == {n: (self.steps[n], self.state[n]) for n in self.state}
        pending = [n for n, state in self.state.items() if state is EntryState.PENDING]
        assert self.journal.pending() == pending
        for number, state in self.state.items():
            if state is not EntryState.OPEN:
                blob = self.journal.blob(number)
                assert self.blobs.setdefault(number, blob) == blob

    def teardown(self):
        assert find_problems(self.journal) == []
        self.journal.close()


def test_any_history_leaves_a_sound_journal(tmp_path_factory, make_header, make_step, make_footer):
    class Machine(JournalMachine):
        header, step, footer = map(staticmethod, (make_header, make_step, make_footer))

        @staticmethod
        def new_folder() -> Path:
            return tmp_path_factory.mktemp("machine")

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE steps SET record = NULL WHERE step = 1", "not bytes"),
        ("UPDATE episodes SET header = 'text'", "not"),
        ("UPDATE episodes SET footer = x'00'", "not an episode footer"),
        ("UPDATE episodes SET receipt = 'perhaps'", "perhaps"),
    ],
)
def test_values_that_a_disk_has_made_up_are_explained_and_never_uploaded(
    path, record, damage, says
):
    with Journal.open(path) as journal:
        number = record(journal)
        sha256, _ = journal.blob(number)
    loosened = sqlite3.connect(path)
    for table in ("episodes", "steps"):  # a copy that holds anything, as damaged pages may
        loosened.executescript(
            f"CREATE TABLE loose AS SELECT * FROM {table}; DROP TABLE {table};"
            f"ALTER TABLE loose RENAME TO {table};"
        )
    with loosened:
        loosened.execute(damage)
    loosened.close()
    with Journal.read(path) as journal:
        with pytest.raises(JournalError, match=says):
            journal.entries() if "episodes" in damage else journal.blob(number)
        with pytest.raises(JournalError, match=says):
            overview(journal) if "episodes" in damage else journal.episode(number)
        if "steps" in damage or "header" in damage:
            with pytest.raises(DamagedEpisode) as caught:
                journal.blob(number)
            assert caught.value.sha256 == sha256


def test_a_file_that_was_cut_keeps_its_log(path, record):
    with Journal.open(path) as journal:
        record(journal)
        log = path.with_name(path.name + "-wal").read_bytes()
    for left in (b"", b"S"):
        path.write_bytes(left)
        path.with_name(path.name + "-wal").write_bytes(log)
        for opened in (Journal.read, Journal.open):
            with pytest.raises(JournalError, match="cut off"):
                opened(path)
        assert path.with_name(path.name + "-wal").read_bytes() == log


def test_a_reader_in_the_moment_of_a_journals_making_is_told_so(path):
    path.touch()
    with pytest.raises(JournalError, match="only just being made: try again"):
        Journal.read(path)
