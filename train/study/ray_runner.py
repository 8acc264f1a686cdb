"""A study's jobs on a Ray cluster whose machines share the study's folder.

Each is the same process as on this machine. Which machine it runs on, and which GPU it sees there,
is Ray's to choose. Knows nothing of what a job does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldtune.settings import ConfigError
from fieldtune.train.cluster.ray_cluster import Cluster, ClusterError, Task, join
from fieldtune.train.cluster.request import Machine, Request, counted
from fieldtune.train.cores import SHARE
from fieldtune.train.process_settings import environment
from fieldtune.train.study.plan import Job
from fieldtune.train.study.runners import Handle, asked_of, end_process, run_command

GPUS_SEEN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
PLACES = ("HOME", "LD_LIBRARY_PATH", "PATH", "PWD", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Of a machine's own: another one would look for another fieldtune there."""
LEAST_GPUS = 1e-4  # Ray's grain


def request_of(
    device: str, cpus: int | None, gpus: float | None, machines: Sequence[Machine]
) -> Request:
    """What each process that trains asks for.

    Args:
        device: the key's value.
        cpus: cores a process; None: its threads.
        gpus: GPUs a process, from 0 to 1; None: a whole one where `device` is `cuda`, or is `auto`
            and some machine has one.
        machines: of the cluster.

    Raises:
        ConfigError: `gpus` and `device` contradict each other, or `device` names a GPU, which is
            Ray's to choose.
    """
    if device.startswith("cuda:") and device != "cuda:0":
        raise ConfigError(
            f"device is {device!r}, but Ray chooses each job's GPU, and shows it that one alone: "
            "set device=cuda"
        )
    if gpus is not None and not (gpus == 0 or LEAST_GPUS <= gpus <= 1):
        raise ConfigError(f"--gpus-per-job is {gpus:g}: expected 0, or {LEAST_GPUS:g} to 1")
    if gpus is None:
        there = device != "auto" or any(machine.gpus for machine in machines)
        gpus = 1.0 if there and device != "cpu" else 0.0
    elif gpus and device == "cpu":
        raise ConfigError(f"--gpus-per-job is {gpus:g}, but device is 'cpu': leave one of them out")
    elif not gpus and device not in ("cpu", "auto"):
        raise ConfigError(f"--gpus-per-job is 0, but device is {device!r}: set device=cpu")
    return Request(cpus or int(environment(os.environ)["OMP_NUM_THREADS"]), gpus)


@dataclass
class RayRunner:
    """Made by `ray_runner`. The job that makes the data learns on the CPU and runs alone: it takes
    no GPU, and all cores of a machine."""

    cluster: Cluster
    request: Request
    slots: int
    together: int

    def start(self, jobs: Sequence[Job]) -> Handle:
        request = self.request
        if jobs[0].seed is None:
            request = Request(max(int(machine.cpus) for machine in self.cluster.machines()))
        study, name, seeds, log = asked_of(jobs)
        own = (*GPUS_SEEN, *PLACES)
        kept = {key: value for key, value in os.environ.items() if key not in own}
        environment = kept | {SHARE: str(request.cpus)}
        results = [job.result for job in jobs]
        task = self.cluster.start(
            _on_worker, request, results, study, name, seeds, log, environment
        )
        return _Running(task, tuple(jobs))

    def close(self) -> None:
        self.cluster.close()

    def __str__(self) -> str:
        machines = self.cluster.machines()
        cpus, gpus = (sum(m.cpus for m in machines), sum(m.gpus for m in machines))
        has = (
            f"{counted(len(machines), 'machine')}, {counted(cpus, 'core')}, {counted(gpus, 'GPU')}"
        )
        return f"Ray: {has}; a process takes {self.request}; {self.slots} at once"


def ray_runner(
    folder: Path,
    device: str,
    slots: int | None,
    together: int,
    cpus: int | None,
    gpus: float | None,
) -> RayRunner:
    """Join the cluster, and check that it can do the study in `folder`, which is there.

    Args:
        folder: of the study.
        device: the key's value.
        slots: processes at once; None: as many as there is room for.
        together: seeds that may share a process.
        cpus, gpus: as `request_of` takes them.

    Raises:
        ConfigError: as `request_of`.
        ClusterError: Ray cannot be used, no machine has room for a job, or one is not alike.
    """
    cluster = join()
    try:
        request = request_of(device, cpus, gpus, cluster.machines())
        at_once = cluster.room(request)
        cluster.require_alike(folder)
    except BaseException:
        cluster.close()
        raise
    return RayRunner(cluster, request, slots or at_once, together)


@dataclass(frozen=True)
class _Running:
    task: Task
    jobs: tuple[Job, ...]

    def poll(self) -> int | None:
        try:
            return self.task.poll()
        except ClusterError as error:
            self.task.stop()
            for job in self.jobs:
                job.log.parent.mkdir(parents=True, exist_ok=True)
                with job.log.open("a") as log:  # whose end is what the study shows
                    print(f"error: {error}\nrun the same command again to go on", file=log)
            return 1

    def ask(self) -> None:
        self.task.stop()  # which waits for nothing

    def stop(self) -> None:
        self.task.stop()


def _on_worker(
    study: str, name: str, seeds: Sequence[int], log: str, asked: Mapping[str, str]
) -> int:
    """A process on a machine of the cluster, in the environment of who asked for it, but for the
    GPUs that Ray lets it see."""
    process = run_command(study, name, seeds, log, environment({**os.environ, **asked}))
    try:
        return process.wait()
    finally:
        end_process(process)
