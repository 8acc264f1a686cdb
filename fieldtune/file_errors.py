"""What the operating system says of a file, in one sentence that names the file.

`write` on a full disk raises an error without a path, and a temporary file's name helps nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_CURES = {
    errno.EACCES: "check who may use it",
    errno.EPERM: "check who may use it",
    errno.EROFS: "choose another place, or work on a copy of what is there",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EMFILE: "allow this process more files (`ulimit -n`)",
    errno.ENFILE: "this machine has too many files open",
}


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an `OSError` raised inside name `path`, where it names none, or what is temporary beside
    it (a file, or a folder with files)."""
    try:
        yield
    except OSError as error:
        named = error.filename
        parts = Path(named).parts if isinstance(named, str | Path) else ()
        beside = any(part.startswith(f".{path.name}.") for part in parts)
        if error.errno is None or not (named is None or beside):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def require_writable(path: Path) -> None:
    """Raise `OSError` where nothing could be put at `path`, as far as that is known beforehand:
    before work begins whose result would go there. Changes nothing.

    A link to nothing is refused, wherever on the way it stands: the disk that it leads to is
    mostly only not mounted.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    place = path.absolute()
    for part in (place, *place.parents):
        if part.is_symlink() and not part.exists():
            raise OSError(
                errno.ENOENT,
                f"is a link to {part.readlink()}, and nothing is there: mount or make what it "
                "leads to, or remove the link",
                str(part),
            )
    folder = next(parent for parent in place.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code), str(path))


def require_other(path: Path, *read: Path) -> None:
    """Raise `OSError` where `path`, which is to be written, is one of the files that are read."""
    for source in read:
        if path.exists() and source.exists() and path.samefile(source):
            raise OSError(
                errno.EINVAL, "is read by this command: choose another file for --out", str(path)
            )


def sentence(error: OSError) -> str:
    """`PATH: what is wrong: the cure`, as far as they are known."""
    if error.errno is None:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    cure = _CURES.get(error.errno)
    return f"{where}{error.strerror}" + ("" if cure is None else f": {cure}")
