"""The process that writes a dataset's episodes, apart from the one that made them.

When a disk fills, HDF5 first drops what it could not write, of which h5py only prints "Exception
ignored", and then crashes. Here the first failure ends the writing process, which says why; a crash
all the same is an error like others to the process that waits. Knows rows of named arrays and
Minari's form of them; not what they mean.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

# Before the names of an episode's other arrays, and of its observations where they are a dict.
INFO, ATTRIBUTE, OBSERVATION = "infos/", "attributes/", "observations/"
SIZE = struct.Struct("<Q")  # of a row's head
LITTLE = 1 << 20  # bytes of room, with less of which a crash is taken for a full disk's

Row = Mapping[str, Any]


class WritingFailed(Exception):
    """The episodes could not be written. The message says why, without the path."""


def write_episodes(data: Path, rows: Iterable[Row]) -> None:
    """Append episodes to the Minari storage in `data`, whose metadata are there already.

    One row at a time is in memory, and goes through a pipe.

    Args:
        rows: by Minari's names, an episode's arrays; those of its infos under `INFO` + name, its
            attributes (arrays, numbers, text) under `ATTRIBUTE` + name, and where observations are
            a dict, each of its arrays under `OBSERVATION` + name.

    Raises:
        OSError: what the disk said, with `data`.
        WritingFailed: whatever else ended the process.
    """
    command = [sys.executable, "-m", __name__, str(data)]
    # A session of its own: Ctrl-C is this process's to act on, the other one ends with the pipe.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for row in rows:
                if not _sent(process.stdin, row):
                    break
            else:
                _sent(process.stdin, {})
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            said = process.stdout.read()
        except BaseException:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            raise
    if process.returncode:
        raise _why(data, process.returncode, said)


def _sent(pipe: Any, row: Row) -> bool:
    """Whether the other process still takes rows: how large the head is, the head, the arrays."""
    arrays = {name: np.ascontiguousarray(value) for name, value in row.items()}
    head = json.dumps([[name, a.dtype.str, np.shape(row[name])] for name, a in arrays.items()])
    try:
        pipe.write(SIZE.pack(len(head)) + head.encode())
        for array in arrays.values():
            pipe.write(array.tobytes())
    except BrokenPipeError:
        return False
    return True


def _why(data: Path, status: int, said: bytes) -> OSError | WritingFailed:
    try:
        known = json.loads(said)
        number, message = known["errno"], known["message"]
    except (ValueError, LookupError, TypeError):  # it could not begin, or was killed
        number, message = None, (said.decode(errors="replace").strip().splitlines() or [""])[-1]
    if number is not None:
        return OSError(number, os.strerror(number), str(data))
    if message:
        return WritingFailed(message)
    room = shutil.disk_usage(data).free
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return WritingFailed(
        f"the process that writes its episodes ended with {how}, with {room / 1e6:.1f} MB of room "
        f"on the disk: free some {'space' if room < LITTLE else 'memory'}, and try again"
    )


def main(data: Path) -> None:
    """Write the rows of the standard input; the standard output says why it could not."""
    answer, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    for printed in (1, 2):  # what libraries print is no answer
        os.dup2(nowhere, printed)
    sys.unraisablehook = lambda ignored: _fail(answer, ignored.exc_value)
    try:
        storage, attributes = MinariStorage.read(data), list[dict[str, Any]]()
        storage.update_episodes(_received(sys.stdin.buffer, attributes))
        storage.update_episode_metadata(attributes)
    except BaseException as error:  # whatever it is, the other process must know
        _fail(answer, error)


def _fail(answer: int, error: BaseException | None) -> NoReturn:
    """Say why, and end before HDF5 closes its files."""
    number = getattr(error, "errno", None)
    if number is None:
        found = re.search(r"errno = (\d+)", str(error))
        number = int(found[1]) if found else None
    try:
        told = {"errno": number, "message": f"{type(error).__name__}: {error}"}
        os.write(answer, json.dumps(told).encode())
    finally:
        os._exit(1)


def _received(pipe: BinaryIO, attributes: list[dict[str, Any]]) -> Iterator[EpisodeBuffer]:
    """The episodes that come, whose attributes are appended."""
    while row := _row(pipe):
        attributes.append({k: v if v.ndim else v.item() for k, v in _under(ATTRIBUTE, row).items()})
        infos = _under(INFO, row)
        plain: dict[str, Any] = {name: value for name, value in row.items() if "/" not in name}
        plain.setdefault("observations", _under(OBSERVATION, row))
        yield EpisodeBuffer(**plain, infos=infos or None)


def _row(pipe: BinaryIO) -> dict[str, NDArray[Any]]:
    """What `_sent` wrote. Raises `struct.error` where the pipe was closed before an empty row."""
    (size,) = SIZE.unpack(pipe.read(SIZE.size))
    row = {}
    for name, kind, shape in json.loads(pipe.read(size)):
        dtype = np.dtype(kind)
        content = pipe.read(dtype.itemsize * math.prod(shape))
        row[name] = np.frombuffer(content, dtype).reshape(shape)
    return row


def _under(prefix: str, row: Row) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
