"""Writing a file so that a reader, or a power cut, only ever sees all of it or none."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fieldtune.file_errors import naming


def write_atomically(
    path: Path, data: bytes, mode: int = 0o644, *, over_anything: bool = False
) -> None:
    """Replace `path` by `data`: a temporary file beside it, synced, then renamed over it.

    Args:
        path: the file; its folder must be there.
        data: all of its bytes.
        mode: its permissions; before it has them, nobody but its owner can read it.
        over_anything: whether a device or a pipe that is there may be replaced: root's
            `--out /dev/null` would replace it.

    Raises:
        OSError: no space, no permission, no such folder, or a device or a pipe is there; with its
            name. `path` is as it was.
    """
    with replace_atomically(path, mode, over_anything=over_anything) as file:
        file.write(data)


@contextlib.contextmanager
def replace_atomically(
    path: Path, mode: int = 0o644, *, over_anything: bool = False
) -> Iterator[BinaryIO]:
    """As `write_atomically`, piece by piece: `path` changes when the block ends well.

    Args:
        path, mode, over_anything: as given to `write_atomically`.

    Raises:
        OSError: as `write_atomically`. Whatever is raised, `path` is then as it was.
    """
    if not over_anything and path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "is no file that could be replaced", str(path))
    with naming(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync(path.parent)  # the rename itself must survive a power cut


def sync(path: Path) -> None:
    """Return when `path` is on the disk: a file's bytes, or a folder's names. Raises `OSError`."""
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # no pipe is waited for
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
