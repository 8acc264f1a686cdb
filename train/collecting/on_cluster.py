"""The pieces of a scripted dataset, made by the machines of a Ray cluster that share its folder.

Must not know what becomes of the pieces.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path

import msgspec

from fieldtune.settings import ConfigError
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.scripted import scripted
from fieldtune.train.cluster.ray_cluster import Cluster, ClusterError, Task, join
from fieldtune.train.cluster.request import Request
from fieldtune.train.collecting.pieces import Asked, Piece, ScriptedData, write_piece
from fieldtune.train.collecting.spreading import Spread, WorkerFailed
from fieldtune.train.config import RunConfig
from fieldtune.train.process_settings import environment

A_CORE = Request(cpus=1)
LOOK_EVERY_S = 0.1
RETRIES = 3  # where a machine dies: another makes the same piece, and no file is ever half written


@contextmanager
def spread_by(runner: str, config: RunConfig) -> Iterator[Spread | None]:
    """What makes a dataset's pieces: None for this machine's processes, or a cluster that is
    joined for one block.

    Args:
        runner: `local` or `ray`.
        config: what the data are for.

    Raises:
        ConfigError: `runner` is neither, or the data have no pieces.
        ClusterError: Ray cannot be used.
    """
    if runner not in ("local", "ray"):
        raise ConfigError(f"--runner is {runner!r}: expected one of local, ray")
    if runner == "local":
        yield None
        return
    if scripted(make_family(config.family, **config.family_options)) is None:
        raise ConfigError(
            f"--runner ray: the data of {config.family!r} come from one agent, which learns from "
            "all of them, so that they cannot be spread over machines: leave it out"
        )
    cluster = join()
    try:
        yield on_cluster(cluster, None if config.workers == "auto" else config.workers)
    finally:
        cluster.close()


def on_cluster(cluster: Cluster, at_most: int | None = None) -> Spread:
    """A `Spread` over all the cores of a cluster.

    Args:
        cluster: it stays open.
        at_most: pieces at once; None: as many as there are cores, however machines come and go.
    """

    def spread(
        asked: Asked, folder: Path, pieces: Sequence[Piece], on_made: Callable[[Piece], None]
    ) -> None:
        cluster.room(A_CORE)
        cluster.require_alike(folder)
        left = iter(pieces)
        running: dict[Piece, Task] = {}
        try:
            while True:
                room = min(cluster.room(A_CORE), at_most or len(pieces))
                for piece in islice(left, max(0, room - len(running))):
                    running[piece] = _start(cluster, asked, folder.absolute(), piece)
                if not running:
                    return
                for piece in [piece for piece, task in running.items() if _made(piece, task)]:
                    del running[piece]
                    on_made(piece)
                time.sleep(LOOK_EVERY_S)
        finally:
            for task in running.values():
                task.stop()

    return spread


def _start(cluster: Cluster, asked: Asked, folder: Path, piece: Piece) -> Task:
    settled = environment(os.environ)
    return cluster.start(
        _make,
        A_CORE,
        [piece.file(folder)],
        asked.model_dump_json(),
        str(folder),
        msgspec.json.encode(piece).decode(),
        environment={name: settled[name] for name in environment({})},
        retries=RETRIES,
    )


def _made(piece: Piece, task: Task) -> bool:
    try:
        return task.poll() is not None
    except ClusterError as error:
        raise WorkerFailed(f"task {piece.task} of split {piece.split!r}: {error}") from None


def _make(asked: str, folder: str, order: str) -> int:
    """On a machine of the cluster. Its process is used again, for any piece of the same data."""
    piece = msgspec.json.decode(order, type=Piece)
    write_piece(Path(folder), piece, _data(asked).make(piece))
    return 0


@cache
def _data(asked: str) -> ScriptedData:
    return ScriptedData(Asked.model_validate_json(asked))
