"""What runs a study's jobs, and the one that starts processes on this machine's cores.

Each starts the same command for a job, or for several seeds of one method. Knows nothing of what a
job does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from fieldtune.train.cores import SHARE, available, share
from fieldtune.train.study.plan import Job

RunnerName = Literal["local", "ray"]

KILLED_S = 10.0


class Handle(Protocol):
    """One process that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    def ask(self) -> None:
        """Tell it to end, and wait for nothing."""
        ...

    def stop(self) -> None:
        """End it, by force where it takes long."""
        ...


class Runner(Protocol):
    """`slots` is how many processes run at once, `together` how many seeds may share one."""

    slots: int
    together: int

    def start(self, jobs: Sequence[Job]) -> Handle:
        """Run `jobs` in one process: one, or several seeds of one method."""
        ...

    def close(self) -> None: ...


def local_runner(
    slots: int | None, together: int, *, seeds: int, methods: int, on_gpu: bool
) -> LocalRunner:
    """A process a seed on all cores, where nothing else is asked for; where seeds share a GPU, one
    process, as processes would have it one after another, in slices of time.

    Args:
        slots: processes at once, of which there are no more than the study can have.
        together: how many seeds may share a process.
        seeds: how many there are.
        methods: likewise.
        on_gpu: whether this machine's jobs find one.
    """
    if slots is None:
        slots = 1 if on_gpu and together > 1 else available()
    return LocalRunner(min(slots, methods * -(-seeds // together)), together)


def run_command(
    study: str, name: str, seeds: Sequence[int], log: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process of one job or several. It ends itself when the pipe to its standard input
    closes.

    Args:
        study: the study's folder.
        name: of the job.
        seeds: of a method; none for the data.
        log: the file that its output is added to; its folder is made where it is missing.
        environment: the process's.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fieldtune.train.study.job", study, name]
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            command + [str(seed) for seed in seeds],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
        )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate a job's process, and kill it where that takes long; nothing where it has ended."""
    if process.poll() is None:
        process.terminate()
        _await_end(process)


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(KILLED_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class LocalRunner:
    """Processes of this machine: each learns on one thread (`fieldtune.train.process_settings`) and
    simulates on its share of the cores, each seed of several; the data's, which runs alone, on all
    of them."""

    def __init__(self, slots: int, together: int = 1) -> None:
        self.slots, self.together = slots, together

    def start(self, jobs: Sequence[Job]) -> Handle:
        workers = share(1 if jobs[0].seed is None else self.slots * len(jobs))
        return _Process(run_command(*asked_of(jobs), os.environ | {SHARE: str(workers)}))

    def close(self) -> None:
        """Nothing is kept open."""


def asked_of(jobs: Sequence[Job]) -> tuple[str, str, list[int], str]:
    """What `run_command` is told of `jobs`: study, name, seeds and log."""
    first = jobs[0]
    log = first.log if len(jobs) == 1 else first.shared_log
    seeds = [job.seed for job in jobs if job.seed is not None]
    return str(first.study.absolute()), first.name, seeds, str(log.absolute())


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._asked = process, False

    def poll(self) -> int | None:
        return self._process.poll()

    def ask(self) -> None:
        if not self._asked and self._process.poll() is None:
            self._asked = True  # once: of a second one it would end without saving
            self._process.terminate()

    def stop(self) -> None:
        self.ask()
        _await_end(self._process)
