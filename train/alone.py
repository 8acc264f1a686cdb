"""What only one process may do at a time, since two would write over each other for hours.

Names who does it already. Knows the lock and where it lies; not what is done meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fieldtune.errors import UserError
from fieldtune.file_errors import require_writable
from fieldtune.lock import Held, exclusive


class InUse(UserError):
    """Another process is at it. The message names what, the process and the cure."""


@contextmanager
def alone(lock: Path, what: str, cure: str) -> Iterator[None]:
    """Hold `lock` while the block runs; it goes when this process does, however it ends.

    Args:
        lock: the lock's file; its folder is made where it is missing.
        what: what is done meanwhile, for the error.
        cure: what else a person can do than to wait, the end of the error's sentence.

    Raises:
        InUse: another process holds it; nothing was waited for.
        OSError: the lock could not be written.
    """
    require_writable(lock)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(lock))
        except Held as error:
            raise InUse(
                f"{what}: process {error.holder} is at it: wait for it, stop it, or {cure}"
            ) from None
        yield


@contextmanager
def training(checkpoint: Path) -> Iterator[Path]:
    """`checkpoint`, for the one process that may train what it holds.

    Raises `InUse`, or `OSError` where it could not be written.
    """
    require_writable(checkpoint)
    lock = checkpoint.with_name(f".{checkpoint.name}.lock")
    with alone(lock, str(checkpoint), "give this run a folder of its own (--run)"):
        yield checkpoint


@contextmanager
def making(dataset: Path) -> Iterator[None]:
    """For the one process that may make the dataset in this folder. Raises `InUse`."""
    lock = dataset.absolute().with_name(f".{dataset.name}.lock")
    with alone(lock, str(dataset), "choose another folder"):
        yield
