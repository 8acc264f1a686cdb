"""What runs a study's jobs, and the one that starts processes on this machine's cores.

Knows nothing of what a job does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from fieldtune.train.study.plan import Job

RunnerName = Literal["local", "ray"]

KILLED_S = 10.0


class Handle(Protocol):
    """One job that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    def stop(self) -> None: ...


class Runner(Protocol):
    """`slots` is how many jobs run at once."""

    slots: int

    def start(self, job: Job) -> Handle: ...

    def close(self) -> None: ...


def run_command(
    study: str, name: str, seed: int | None, log: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start one job's process. It ends itself when the pipe to its standard input closes.

    Args:
        study: the study's folder.
        name: of the job.
        seed: of a method; None for the data.
        log: the file that its output is added to; its folder is made where it is missing.
        environment: the process's; None: this one's.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fieldtune.train.study.job", study, name]
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            command + ([] if seed is None else [str(seed)]),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
        )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate a job's process, and kill it where that takes long; nothing where it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(KILLED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class LocalRunner:
    """Processes of this machine, one thread each (`fieldtune.train.process_settings`)."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = slots or len(os.sched_getaffinity(0))

    def start(self, job: Job) -> Handle:
        return _Process(run_command(str(job.study), job.name, job.seed, str(job.log)))

    def close(self) -> None:
        """Nothing is kept open."""


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        end_process(self._process)
