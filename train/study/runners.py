"""Where a study's jobs run: processes on this machine's cores, or a Ray cluster.

Both start the same command for a job, or for several seeds of one method. Knows nothing of what a
job does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from fieldtune.errors import UserError
from fieldtune.train.process_settings import environment as settled
from fieldtune.train.study.plan import Job

RunnerName = Literal["local", "ray"]

KILLED_S = 10.0


class RunnerError(UserError):
    """Jobs cannot be run as asked. The message says what is missing and the cure."""


class Handle(Protocol):
    """One process that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    def stop(self) -> None: ...


class Runner(Protocol):
    """`slots` is how many processes run at once, `together` how many seeds may share one."""

    slots: int
    together: int

    def start(self, jobs: Sequence[Job]) -> Handle:
        """Run `jobs` in one process: one, or several seeds of one method."""
        ...

    def close(self) -> None: ...


def make_runner(
    name: RunnerName, slots: int | None, together: int | None, *, seeds: int, on_gpu: bool
) -> Runner:
    """Of all seeds on one GPU one process, where nothing else is asked for: processes would have
    the GPU one after another, in slices of time.

    Args:
        slots: processes at once.
        together: how many seeds may share a process.
        seeds: how many there are.
        on_gpu: whether this machine's jobs find one.

    Raises:
        RunnerError: Ray is asked for and not installed.
    """
    if name == "ray":
        return RayRunner(slots, together or 1)
    if together is None:
        together = seeds if on_gpu and slots is None else 1
    if slots is None:
        slots = 1 if on_gpu and together > 1 else len(os.sched_getaffinity(0))
    return LocalRunner(slots, together)


def run_command(study: str, name: str, seeds: Sequence[int], log: str) -> subprocess.Popen[bytes]:
    """Start a process of one job or several. It ends itself when the pipe to its standard input
    closes.

    Args:
        study: the study's folder.
        name: of the job.
        seeds: of a method; none for the data.
        log: the file that its output is added to; its folder is made where it is missing.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fieldtune.train.study.job", study, name]
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            command + [str(seed) for seed in seeds],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )


class LocalRunner:
    """Processes of this machine, one thread each (`fieldtune.train.process_settings`)."""

    def __init__(self, slots: int, together: int = 1) -> None:
        self.slots, self.together = slots, together

    def start(self, jobs: Sequence[Job]) -> Handle:
        study, name, seeds, log = _asked(jobs)
        return _Process(run_command(str(study), name, seeds, str(log)))

    def close(self) -> None:
        """Nothing is kept open."""


def _asked(jobs: Sequence[Job]) -> tuple[Path, str, list[int], Path]:
    """What `run_command` is told of `jobs`."""
    first = jobs[0]
    seeds = [job.seed for job in jobs if job.seed is not None]
    return first.study, first.name, seeds, first.log if len(jobs) == 1 else first.shared_log


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

    Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine. A process takes one
    core.
    """

    def __init__(self, slots: int | None, together: int = 1) -> None:
        try:
            import ray
        except ImportError:
            raise RunnerError(
                "--runner ray needs Ray: pip install 'fieldtune[train,ray]', or leave --runner out"
            ) from None
        self._ray = ray
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        self.together = together
        self.slots = slots or int(ray.cluster_resources().get("CPU", 1))
        self._task = ray.remote(num_cpus=1, max_retries=0)(_on_worker)

    def start(self, jobs: Sequence[Job]) -> Handle:
        study, name, seeds, log = _asked(jobs)
        absolute = str(study.absolute()), name, seeds, str(log.absolute())
        return _Task(self._ray, self._task.remote(*absolute, dict(os.environ)))

    def close(self) -> None:
        self._ray.shutdown()


def _on_worker(study: str, name: str, seeds: Sequence[int], log: str, environment: dict) -> int:
    """A process on a worker of the cluster, with the threads and the allocator of who asked."""
    os.environ.update(settled(environment))
    process = run_command(study, name, seeds, log)
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
