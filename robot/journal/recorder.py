"""The recorder: takes steps from the control loop without ever blocking it, and makes them durable.

Owns the one thread that writes the journal. It does not know how a step came about, nor what the
network does with a finished episode.

One transaction holds whatever has queued up since the last one, so full sync costs one fsync a
batch and not one a step.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from typing_extensions import Self

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, EpisodeHeader, Step
from fieldtune.robot.journal.file import explained, wants_room
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.journal.presence import Lost
from fieldtune.robot.journal.quota import Quota
from fieldtune.robot.journal.recorder_events import Begin, End, Event, Put, Rewards, write
from fieldtune.robot.journal.recovery import close_interrupted
from fieldtune.robot.journal.rescue import rescue

log = logging.getLogger(__name__)

CAPACITY_STEPS = 20_000
_BATCH = 2_000
_RETRY_S = 0.25


class Recorder:
    """Records episodes from one control loop into the journal at `journal_path`.

    `begin`, `put` and `end` only queue, and never block. At most `capacity_steps` steps wait for
    the disk; when they are that many, or the disk refuses, `error` says so and the loop should end
    its episode. What is queued is written as soon as the disk allows.

    A journal that is deleted, moved or cut off meanwhile is an `error` from the next step on. What
    comes before the end is recorded all the same, and all of it saved where it can be found.

    With `quota_bytes`, acknowledged episodes are deleted after each episode, oldest first, while
    the journal and the folder `beside` are larger. Never others: `full` says when those fill the
    quota.
    """

    def __init__(
        self,
        journal_path: Path,
        capacity_steps: int = CAPACITY_STEPS,
        quota_bytes: int | None = None,
        beside: Path | None = None,
    ) -> None:
        self.journal_path = Path(journal_path)
        self.capacity_steps = capacity_steps
        self._quota = Quota(self.journal_path, quota_bytes, beside)
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._opened = threading.Event()
        self._closing = threading.Event()
        self._refused: Exception | None = None
        self._disk_error: str | None = None
        self._fatal_error: str | None = None
        self._refusal: str | None = None
        self._gone: Lost | None = None
        self._saved = ""
        # Each counter has one writer: the loop's thread the first three, the recorder's the rest.
        self._accepted = 0
        self._lost = 0
        self._events_in = 0
        self._durable = 0
        self._events_out = 0
        self._next_number = 0
        self._number: int | None = None
        self._steps = 0

    def start(self) -> Self:
        """Open the journal in the recorder's thread. Raises `JournalError` when that fails."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._refused is not None:
            raise self._refused
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def error(self) -> str | None:
        """Why steps are not becoming durable, or None. It clears when the disk takes them again
        and, after steps were lost, at `end`, which writes the loss into the footer."""
        if self._gone is not None:
            return f"{self._gone.said}; {self._saved}".removesuffix("; ")
        if self._fatal_error is not None:
            return self._fatal_error
        if self._lost:
            return (
                f"{self._lost} steps of episode {self._number} were lost: {self.capacity_steps} "
                f"steps wait for the disk ({self._disk_error or 'it is too slow'})"
            )
        return self._disk_error

    @property
    def broken(self) -> str | None:
        """Why a person has to look, or None: the journal was lost, or its disk refused for another
        reason than room. Stays, also when the disk takes steps again."""
        if self._gone is not None or self._fatal_error is not None:
            return self.error
        return self._refusal

    @property
    def full(self) -> str | None:
        """Why no further episode should begin, or None: what the trainer has not acknowledged
        fills the quota. What is put is recorded all the same."""
        return self._quota.full

    @property
    def durable_steps(self) -> int:
        """Steps on the disk, of those put since `start`. They became durable in that order."""
        return self._durable

    @property
    def queued_steps(self) -> int:
        """Steps that wait for the disk."""
        return self._accepted - self._durable

    def next_number(self) -> int:
        """The number for the next episode: higher than any this journal has ever seen."""
        return self._next_number

    def begin(self, header: EpisodeHeader) -> None:
        """Open an episode. Raises `ValueError` while another is open, or for a used number."""
        self._require_started()
        if self._number is not None:
            raise ValueError(f"episode {self._number} is open: end() it before the next begin()")
        if header.number < self._next_number:
            raise ValueError(
                f"episode number {header.number} is used, expected {self._next_number} or more: "
                "take it from next_number()"
            )
        self._number, self._steps = header.number, 0
        self._next_number = header.number + 1
        self._send(Begin(header, time.time_ns()))

    def put(self, step: Step) -> None:
        """Queue one step. When it cannot be kept, `error` is set from then on, at once.

        Raises `ValueError` outside an episode, `TypeError` for numpy values in the step.
        """
        if self._number is None:
            raise ValueError(f"step {step.index} belongs to no episode: call begin() first")
        if self._lost or self._fatal_error or self.queued_steps >= self.capacity_steps:
            self._lost += 1
            return
        record = codec.pack(step)
        self._accepted += 1
        self._steps += 1
        self._send(Put(self._number, record))

    def end(self, footer: EpisodeFooter) -> None:
        """Close the episode. If steps were lost, its footer says so and counts those kept."""
        if self._number is None:
            raise ValueError("no episode is open: call begin() first")
        if self._lost:
            footer = msgspec.structs.replace(
                footer,
                steps=self._steps,
                end_reason=EndReason.FAULT,
                fault=f"recorder: {self.error}; {footer.fault}".rstrip("; "),
            )
            log.error("%s: episode %d: %s", self.journal_path, self._number, footer.fault)
        number, self._number, self._lost = self._number, None, 0
        self._send(End(number, footer))

    def reward(self, number: int, rewards: Mapping[int, float], source: str) -> None:
        """Queue what steps of an episode were worth.

        Args:
            number: of an episode that has begun here.
            rewards: finite numbers by step, from 0.
            source: who gave them.
        """
        self._send(Rewards(number, rewards, source))

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was queued is durable. Not for the loop while it runs."""
        deadline = time.monotonic() + timeout_s
        target = self._events_in
        while self._events_out < target:
            if self._fatal_error is not None or time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def close(self, flush_timeout_s: float = 10.0) -> bool:
        """Write what is queued, then close the journal. False when the disk did not take it all, or
        the journal is not where it was.

        An episode that is still open stays so, and the next start closes it as interrupted.
        """
        if self._thread is None:
            return True
        flushed = self.flush(flush_timeout_s)
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        if not flushed:
            log.error("%s: closed with %d steps unwritten", self.journal_path, self.queued_steps)
        return flushed and self._gone is None

    def _require_started(self) -> None:
        if self._thread is None:
            raise ValueError("the recorder is not running: call start() first")

    def _send(self, event: Event) -> None:
        self._events_in += 1
        self._queue.put(event)

    def _run(self) -> None:
        try:
            journal, self._next_number = _open(self.journal_path)
        except Exception as error:  # raised where start() was called
            self._refused = error
            self._opened.set()
            return
        with journal:
            try:
                self._make_room(journal)
                self._opened.set()
                self._drain(journal)
            except Exception as error:  # the loop must hear of it, whatever it is
                self._fatal_error = f"the journal cannot be written any more: {error}"
                known = isinstance(error, sqlite3.Error | JournalError)
                log.error(
                    "%s: %s",
                    self.journal_path,
                    self._fatal_error,
                    exc_info=None if known else error,
                )
                self._opened.set()
            self._look(journal)
            if self._gone is not None:
                self._saved = rescue(journal, self._gone)
                log.error("%s", self._saved)

    def _make_room(self, journal: Journal) -> None:
        if self._quota.make_room(journal):
            with contextlib.suppress(sqlite3.OperationalError):  # the next write tells it better
                journal.note_length()

    def _look(self, journal: Journal) -> None:
        """Whether what is written can be found by others."""
        if self._gone is None:
            self._gone = journal.lost()
            if self._gone is not None:
                log.error("%s", self._gone.said)

    def _drain(self, journal: Journal) -> None:
        while True:
            try:
                batch = self._next_batch()
            except queue.Empty:
                self._make_room(journal)
                continue
            while batch and not self._commit(journal, batch):
                if self._closing.wait(_RETRY_S):
                    return
            if not batch:
                return
            if _ends_episode(batch):
                self._make_room(journal)

    def _next_batch(self) -> list[Event]:
        """Wait for one event, then take all that queued up meanwhile; empty means the end.

        Raises `queue.Empty` when there is time to make room instead.
        """
        event = self._queue.get(timeout=self._quota.patience_s)
        batch: list[Event] = []
        while event is not None:
            batch.append(event)
            if len(batch) == _BATCH:
                break
            try:
                event = self._queue.get_nowait()
            except queue.Empty:
                break
        else:
            if batch:
                self._queue.put(None)
        return batch

    def _commit(self, journal: Journal, batch: list[Event]) -> bool:
        self._look(journal)  # SQLite may lengthen again what was cut off
        try:
            with journal.transaction():
                write(journal, batch)
        except sqlite3.OperationalError as error:
            if self._disk_error is None:
                log.error("%s: %s; trying again", self.journal_path, error)
            self._disk_error = f"{self.journal_path}: {error}: free disk space or check the disk"
            if not wants_room(error, self.journal_path):
                self._refusal = self._refusal or self._disk_error
            return False
        self._disk_error = None
        self._look(journal)
        if _ends_episode(batch):
            journal.note_length()  # before anybody hears that the episode is kept
        self._durable += sum(isinstance(event, Put) for event in batch)
        self._events_out += len(batch)
        return True


def _ends_episode(batch: list[Event]) -> bool:
    return any(isinstance(event, End) for event in batch)


def _open(path: Path) -> tuple[Journal, int]:
    """The journal, its interrupted episodes closed, and its next number. Raises `JournalError`."""
    journal = Journal.open(path)
    try:
        with explained(path):
            close_interrupted(journal)
            return journal, journal.next_number()
    except BaseException:
        journal.close()
        raise
