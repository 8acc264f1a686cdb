"""Where a study's jobs run: processes on this machine's cores, or a Ray cluster.

Both start the same command for a job. Knows nothing of what a job does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

from fieldtune.errors import UserError
from fieldtune.train.cores import SHARE, available, share
from fieldtune.train.process_settings import environment as settled
from fieldtune.train.study.plan import Job

RunnerName = Literal["local", "ray"]

KILLED_S = 10.0


class RunnerError(UserError):
    """Jobs cannot be run as asked. The message says what is missing and the cure."""


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


def make_runner(name: RunnerName, slots: int | None, jobs: int) -> Runner:
    """Where jobs are to run.

    Args:
        name: as a person gives it.
        slots: jobs at once; None: as many as there are cores.
        jobs: how many there can be at once, which then share all cores.

    Raises:
        RunnerError: Ray is asked for and not installed.
    """
    if name == "ray":
        return RayRunner(slots)
    return LocalRunner(min(slots or available(), jobs))


def run_command(
    study: str, name: str, seed: int | None, log: str, workers: int = 1
) -> subprocess.Popen[bytes]:
    """Start one job's process. It ends itself when the pipe to its standard input closes.

    Args:
        study: the study's folder.
        name: of the job.
        seed: of a method; None for the data.
        log: the file that its output is added to; its folder is made where it is missing.
        workers: what `workers: auto` is for it.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fieldtune.train.study.job", study, name]
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            command + ([] if seed is None else [str(seed)]),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {SHARE: str(workers)},
        )


class LocalRunner:
    """Processes of this machine: each learns on one thread (`fieldtune.train.process_settings`) and
    simulates on its share of the cores; the data's, which runs alone, on all of them."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def start(self, job: Job) -> Handle:
        workers = share(1 if job.seed is None else self.slots)
        return _Process(run_command(str(job.study), job.name, job.seed, str(job.log), workers))

    def close(self) -> None:
        """Nothing is kept open."""


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(KILLED_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class RayRunner:
    """A Ray cluster whose machines share the study's folder, with fieldtune installed on each.

    Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine. A job takes one core.
    """

    def __init__(self, slots: int | None) -> None:
        try:
            import ray
        except ImportError:
            raise RunnerError(
                "--runner ray needs Ray: pip install 'fieldtune[train,ray]', or leave --runner out"
            ) from None
        self._ray = ray
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        self.slots = slots or int(ray.cluster_resources().get("CPU", 1))
        self._task = ray.remote(num_cpus=1, max_retries=0)(_on_worker)

    def start(self, job: Job) -> Handle:
        study, log = str(job.study.absolute()), str(job.log.absolute())
        return _Task(self._ray, self._task.remote(study, job.name, job.seed, log, dict(os.environ)))

    def close(self) -> None:
        self._ray.shutdown()


def _on_worker(study: str, name: str, seed: int | None, log: str, environment: dict) -> int:
    """A job on a worker of the cluster, with the threads and the allocator of who asked for it."""
    os.environ.update(settled(environment))
    process = run_command(study, name, seed, log)
    try:
        return process.wait()
    finally:
        _Process(process).stop()


class _Task:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def poll(self) -> int | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            return int(self._ray.get(self._reference))
        except self._ray.exceptions.RayError:
            return 1

    def stop(self) -> None:
        self._ray.cancel(self._reference, force=True)
