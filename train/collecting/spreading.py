"""Who makes the pieces of a scripted dataset: this process, or workers on this machine's cores.

A worker is started once, is handed piece after piece, and ends with who started it. It must not
know what becomes of the pieces.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from fieldtune.errors import UserError
from fieldtune.file_errors import sentence
from fieldtune.train.collecting.pieces import Asked, Piece, ScriptedData, write_piece

Spread = Callable[[Asked, Path, Sequence[Piece], Callable[[Piece], None]], None]
"""Makes pieces of what was asked for into a folder, in any order, and tells of each in the calling
thread."""


class WorkerFailed(UserError):
    """A piece could not be made. The message says which, and why."""


class Told(msgspec.Struct):
    """What a worker says of a piece: an error, or none."""

    error: str | None = None


def in_this_process(
    asked: Asked, folder: Path, pieces: Sequence[Piece], on_made: Callable[[Piece], None]
) -> None:
    """A `Spread` without any other process."""
    data = ScriptedData(asked)
    for piece in pieces:
        write_piece(folder, piece, data.make(piece))
        on_made(piece)


def on_cores(workers: int) -> Spread:
    """A `Spread` over so many processes, of which each makes the next piece when it is done."""

    def spread(
        asked: Asked, folder: Path, pieces: Sequence[Piece], on_made: Callable[[Piece], None]
    ) -> None:
        count = min(workers, len(pieces))
        if count <= 1:
            in_this_process(asked, folder, pieces, on_made)
            return
        told: queue.SimpleQueue[Piece | Exception] = queue.SimpleQueue()
        left = iter(pieces)  # shared: a list's iterator gives each out once
        with ExitStack() as open_workers:
            for _ in range(count):
                worker = open_workers.enter_context(_worker(asked, folder))
                threading.Thread(target=_serve, args=(worker, left, told), daemon=True).start()
            for _ in pieces:
                made = told.get()
                if isinstance(made, Exception):
                    raise made
                on_made(made)

    return spread


@contextmanager
def _worker(asked: Asked, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that makes pieces; it is killed when the block ends, and ends when its standard
    input closes, as it does when this process is gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, asked.model_dump_json(), str(folder.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is this process's to act on; the scheduler's group stays
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _serve(
    worker: subprocess.Popen[bytes],
    left: Iterator[Piece],
    told: queue.SimpleQueue[Piece | Exception],
) -> None:
    """Hand `worker` one piece after the other while there are any."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    for piece in left:
        where = f"task {piece.task} of split {piece.split!r}"
        try:
            worker.stdin.write(msgspec.json.encode(piece) + b"\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except (OSError, ValueError):
            answer = b""
        if not answer:
            how = worker.wait()
            ended = f"signal {-how}" if how < 0 else f"status {how}"
            told.put(
                WorkerFailed(
                    f"{where}: the process that makes it ended with {ended}: run the same command "
                    "again to go on, with workers=1 if it ends so again"
                )
            )
            return
        error = msgspec.json.decode(answer, type=Told).error
        told.put(piece if error is None else WorkerFailed(f"{where}: {error}"))


def main(asked: Asked, folder: Path) -> None:
    """Make the pieces that come on standard input; standard output says of each how it went."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    data: ScriptedData | None = None
    while True:
        piece = msgspec.json.decode(orders.get(), type=Piece)
        said = Told()
        try:
            data = data or ScriptedData(asked)
            write_piece(folder, piece, data.make(piece))
        except UserError as error:
            said = Told(str(error))
        except OSError as error:
            said = Told(sentence(error))
        answers.write(msgspec.json.encode(said) + b"\n")


def _listen(orders: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    os._exit(0)  # in the middle of a piece too: nobody waits for it any more


if __name__ == "__main__":
    main(Asked.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
