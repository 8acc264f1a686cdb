"""Who makes the pieces of a scripted dataset: this process, or workers on this machine's cores.

A worker is started once, is handed piece after piece, and ends with who started it. It must not
know what becomes of the pieces.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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


@dataclass(frozen=True)
class Worker:
    """A process that makes pieces, and where it answers."""

    process: subprocess.Popen[bytes]
    answers: BinaryIO

    def make(self, piece: Piece) -> Piece:
        """Have it made. Raises `WorkerFailed` where it was not."""
        where = f"task {piece.task} of split {piece.split!r}"
        assert self.process.stdin is not None
        answer = b""
        with contextlib.suppress(OSError):
            self.process.stdin.write(msgspec.json.encode(piece) + b"\n")
            self.process.stdin.flush()
            answer = self.answers.readline()
        if not answer:
            how = self.process.wait()
            ended = f"signal {-how}" if how < 0 else f"status {how}"
            raise WorkerFailed(
                f"{where}: the process that makes it ended with {ended}: run the same command "
                "again to go on, with workers=1 if it ends so again"
            )
        error = msgspec.json.decode(answer, type=Told).error
        if error is not None:
            raise WorkerFailed(f"{where}: {error}")
        return piece


@contextmanager
def _worker(asked: Asked, folder: Path) -> Iterator[Worker]:
    """A process that makes pieces; it is killed when the block ends, and ends when its standard
    input closes, as it does when this process is gone."""
    command = [sys.executable, "-m", __name__]
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*command, asked.model_dump_json(), str(folder.absolute()), str(theirs)],
        stdin=subprocess.PIPE,
        stdout=2,  # what anybody prints there is no answer
        pass_fds=(theirs,),
        process_group=0,  # Ctrl-C is this process's to act on; the scheduler's group stays
    )
    os.close(theirs)
    assert process.stdin is not None
    answers = os.fdopen(ours, "rb")
    try:
        yield Worker(process, answers)
    finally:
        process.kill()  # before its answers are closed, which waits for who reads them
        process.wait()
        answers.close()
        with contextlib.suppress(OSError):  # what it was handed last, and nobody read
            process.stdin.close()


def _serve(
    worker: Worker, left: Iterator[Piece], told: queue.SimpleQueue[Piece | Exception]
) -> None:
    """Hand `worker` one piece after the other while there are any."""
    try:
        for piece in left:
            told.put(worker.make(piece))
    except Exception as error:  # whoever waits for the piece has to hear of it
        told.put(error)


def main(asked: Asked, folder: Path, answers: int) -> None:
    """Make the pieces that come on standard input.

    Args:
        asked: of which data.
        folder: where to.
        answers: a file descriptor, on which each is answered by how it went.
    """
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
        except Exception as error:  # of a family's or a script's own
            traceback.print_exc()
            said = Told(f"{type(error).__name__}: {error}")
        os.write(answers, msgspec.json.encode(said) + b"\n")


def _listen(orders: queue.SimpleQueue[bytes]) -> None:
    began = b""
    while more := os.read(0, 65536):
        *lines, began = (began + more).split(b"\n")
        for line in lines:
            orders.put(line)
    os._exit(0)  # in the middle of a piece too: nobody waits for it any more


if __name__ == "__main__":
    main(Asked.model_validate_json(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
