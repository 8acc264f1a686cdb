"""A Ray cluster that this process has joined: its machines, and tasks on them, each watched.

Ray pickles what it sends, over ports that ask nobody who he is (docs/cluster.md): only short texts
and numbers are sent, all else goes through files in a shared folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldtune.errors import UserError
from fieldtune.file_errors import sentence
from fieldtune.train.cluster.alike import installed, require_alike
from fieldtune.train.cluster.request import Machine, Request, listed, room

REACHED_S = 5.0
ANSWER_S = 300.0  # a machine's first task starts Python there
SEEN_S = 60.0  # NFS keeps for up to a minute that a file is not there
OOM_RETRIES = ("RAY_task_oom_retries", "3")  # read as Ray is imported; Ray's own: without end


class ClusterError(UserError):
    """The cluster cannot do what is asked. The message says why, and the cure."""


class Task:
    """One call on some machine, which leaves files. `poll` until it is done."""

    def __init__(
        self, cluster: Cluster, reference: Any, request: Request, leaves: Sequence[Path]
    ) -> None:
        self._cluster, self._reference = cluster, reference
        self._request, self._leaves = request, leaves
        self._ended: float | None = None

    def poll(self) -> int | None:
        """What the call returned; None while it waits or runs, or a file is not seen here yet.

        Raises:
            ClusterError: it will never be done: its machine or its process died, it raised, no
                machine has room for it any more, or a file is not seen here.
        """
        status = self._cluster.outcome(self._reference)
        if status is None:
            self._cluster.require(self._request)
            return None
        missing = [path for path in self._leaves if not path.exists()]
        if status == 0 and missing:
            self._ended = self._ended or time.monotonic()
            if time.monotonic() - self._ended < SEEN_S:
                return None
            raise ClusterError(
                f"{missing[0]} was written on another machine and is not seen here after "
                f"{SEEN_S:.0f} s: is its folder shared?"
            )
        return status

    def stop(self) -> None:
        """End it wherever it is; Ray kills its process."""
        self._cluster.cancel(self._reference)


class Cluster:
    """Made by `join`; one a process."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def machines(self) -> list[Machine]:
        """Those that are alive now."""
        return [
            Machine(
                node["NodeID"],
                node["NodeManagerHostname"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def room(self, request: Request) -> int:
        """How many such tasks run at once.

        Raises:
            ClusterError: not even one, on any machine that is alive; Ray itself would wait for ever
                for a machine to be added.
        """
        machines = self.machines()
        found = room(machines, request)
        if not found:
            raise ClusterError(
                f"no machine of the Ray cluster has room for {request} ({listed(machines)}): add "
                "one (`ray start --address=…`), or let a study's jobs ask for less "
                "(--cpus-per-job, --gpus-per-job, device=cpu)"
            )
        return found

    def require(self, request: Request) -> None:
        """Raises `ClusterError` as `room` does."""
        self.room(request)

    def require_alike(self, folder: Path) -> None:
        """Check that every machine has the same versions, and sees `folder`, which must be there.

        Raises:
            ClusterError: one has not, does not, or does not answer.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = folder.absolute() / f".shared-{uuid.uuid4().hex}"
        token.write_text(token.name)
        check = self._ray.remote(num_cpus=0, max_retries=0)(require_alike)
        try:
            asked = [
                check.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False)
                ).remote(installed(), {str(token): token.name})
                for machine in self.machines()
            ]
            done, waiting = self._ray.wait(asked, num_returns=len(asked), timeout=ANSWER_S)
            for reference in done:
                self.outcome(reference)
            if waiting:
                raise ClusterError(
                    f"{len(waiting)} of the cluster's {len(asked)} machines did not answer within "
                    f"{ANSWER_S:.0f} s: see `ray status` and end Ray on what hangs (ray stop)"
                )
        finally:
            token.unlink(missing_ok=True)

    def start(
        self,
        function: Callable[..., int],
        request: Request,
        leaves: Sequence[Path],
        *arguments: str | Sequence[str] | Sequence[int] | Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        retries: int = 0,
    ) -> Task:
        """Call `function` on a machine with room for it.

        Args:
            function: of a module; returns 0 where it went well. It is called only where
                `require_alike` holds.
            request: what is kept free for it.
            leaves: the files that are there afterwards.
            arguments: plain ones.
            environment: variables that its process starts with.
            retries: how often it is called again where its machine or process dies. Where that was
                for want of memory it is called again three times, or never where this is 0.
        """
        remote = self._ray.remote(
            num_cpus=request.cpus,
            num_gpus=request.gpus,
            max_retries=retries,
            runtime_env={"env_vars": dict(environment)} if environment else None,
        )(_where_alike)
        reference = remote.remote(dict(installed()), function, *arguments)
        return Task(self, reference, request, leaves)

    def outcome(self, reference: Any) -> int | None:
        """What a call returned, 0 for nothing; None while it is not done. Raises `ClusterError`."""
        errors = self._ray.exceptions
        if not self._ray.wait([reference], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(reference) or 0)
        except errors.NodeDiedError:
            raise ClusterError("the machine that this ran on is gone") from None
        except errors.OutOfMemoryError:
            raise ClusterError(
                "Ray ended this since its machine's memory was full: let fewer run there at once "
                "(--jobs or --cpus-per-job of a study, workers=N of collect)"
            ) from None
        except errors.RayTaskError as error:
            raise ClusterError(_told(error.cause)) from None
        except errors.RayError as error:  # of a worker that was killed, among others
            raise ClusterError(f"the process that this ran in ended ({_told(error)})") from None

    def cancel(self, reference: Any) -> None:
        """End a call, whether it waits or runs."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; what this process has started there ends. One that `join` started on
        this machine ends too."""
        self._ray.shutdown()


def join() -> Cluster:
    """Join the cluster that `RAY_ADDRESS` names or that runs on this machine; else start one here.

    Raises:
        ClusterError: Ray is not installed, nothing answers there, or it has another version.
    """
    os.environ.setdefault(*OOM_RETRIES)
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise ClusterError(
            "--runner ray needs Ray: pip install 'fieldtune[train,ray]', or leave --runner out"
        ) from None
    address = os.environ.get("RAY_ADDRESS", "")
    _require_reachable(address)
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ValueError, OSError, RayError) as error:
        where = f"the Ray cluster at {address!r} (RAY_ADDRESS)" if address else "Ray"
        raise ClusterError(f"{where} cannot be used: {_first_line(error)}") from None
    return Cluster(ray)


def _require_reachable(address: str) -> None:
    """Ray itself tries for minutes, and then ends the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return  # `auto`, `local`, or Ray's to complain of
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"RAY_ADDRESS is {address!r}, and nothing answers there ({error}): start the cluster "
            "with `ray start --head`, or unset it to run on this machine"
        ) from None


def _where_alike(expected: dict[str, str], function: Callable[..., int], *arguments: Any) -> int:
    require_alike(expected, {})  # this machine may have come later than the others
    return function(*arguments)


def _told(error: BaseException) -> str:
    """What a person can mend in its own words; else which error it is, too."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return sentence(error)
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
