"""Several jobs of a study in one process, so that they share one GPU: a thread a job.

Each job runs as it does alone, and what it says goes to its own log. Knows threads and streams of
text; nothing of what a job does.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from fieldtune.errors import RESUMABLE
from fieldtune.exit_status import INTERRUPTED
from fieldtune.train.phases.stopping import between_updates
from fieldtune.train.study.plan import Job
from fieldtune.train.turns import Turns

LOOK_S = 0.05


def run_together(jobs: Sequence[Job], run: Callable[[Job], None]) -> list[Job]:
    """Run `jobs` side by side; return those that failed, whose logs say why.

    One that fails leaves the others alone. Ctrl-C ends the process once those that learn have
    saved; a second one at once: checkpoints make that harmless.

    Args:
        jobs: of one method.
        run: runs one of them; what it raises is told in that job's log.
    """
    turns, logs = Turns(len(jobs)), _Logs()
    failed: list[Job] = []

    def work(job: Job) -> None:
        with logs.of(job):
            try:
                with turns.taking_part():
                    run(job)
            except BaseException as error:  # the thread's edge
                if not isinstance(error, SystemExit):  # which was told where it was raised
                    traceback.print_exc()
                failed.append(job)

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    with logs.apart():
        try:
            with between_updates() as stopped:
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    time.sleep(LOOK_S)
                    turns.ending = stopped()
                    if turns.ending and not turns.saving:
                        break
        except KeyboardInterrupt:
            print(RESUMABLE, file=sys.stderr, flush=True)
            os._exit(INTERRUPTED)
    return failed


class _Logs:
    """Where a job's thread writes to; other threads write to the process's streams."""

    def __init__(self) -> None:
        self.own = threading.local()

    @contextmanager
    def of(self, job: Job) -> Iterator[None]:
        """The calling thread is `job`'s while the block runs."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("a", encoding="utf-8", buffering=1) as self.own.file:
            yield

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Standard output, standard error and logging's lines on it go to each thread's log."""
        before, ours = sys.stderr, _ByThread(self.own, sys.stderr)
        handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is before
        ]
        for handler in handlers:
            handler.setStream(ours)
        try:
            with redirect_stdout(_ByThread(self.own, sys.stdout)), redirect_stderr(ours):
                yield
        finally:
            for handler in handlers:
                handler.setStream(before)


class _ByThread(io.TextIOBase):
    """Writes to the calling thread's own file, or to `shared` where it has none."""

    encoding = "utf-8"

    def __init__(self, own: threading.local, shared: TextIO) -> None:
        self._own, self._shared = own, shared

    def write(self, text: str) -> int:
        return self._to.write(text)

    def flush(self) -> None:
        self._to.flush()

    @property
    def _to(self) -> TextIO:
        to: TextIO = getattr(self._own, "file", self._shared)
        return to
