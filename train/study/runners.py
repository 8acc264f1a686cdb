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

from fieldtune.train.cores import SHARE, available, share
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
    study: str, name: str, seed: int | None, log: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start one job's process. It ends itself when the pipe to its standard input closes.

    Args:
        study: the study's folder.
        name: of the job.
        seed: of a method; None for the data.
        log: the file that its output is added to; its folder is made where it is missing.
        environment: the process's.
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
    """Processes of this machine: each learns on one thread (`fieldtune.train.process_settings`) and
    simulates on its share of the cores; the data's, which runs alone, on all of them."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = slots or available()

    def start(self, job: Job) -> Handle:
        workers = share(1 if job.seed is None else self.slots)
        environment = os.environ | {SHARE: str(workers)}
        return _Process(run_command(str(job.study), job.name, job.seed, str(job.log), environment))

    def close(self) -> None:
        """Nothing is kept open."""


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        end_process(self._process)
