"""HDF5 files of others, opened and looked through; nothing outside of the file is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fieldtune.train.importing.recording import RecordingError

FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, MemoryError)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, to be read.

    Raises:
        RecordingError: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; expected an HDF5 file: check --from")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FAILURES as error:
        raise RecordingError(unreadable(path, error)) from error


def unreadable(path: Path, error: BaseException) -> str:
    """Why a file could not be read as HDF5, and the cure: it may be of another format."""
    if os.access(path, os.R_OK) and path.stat().st_size and not h5py.is_hdf5(path):
        return (
            f"{path}: no HDF5 file, which is what is read here: convert it, or import it by a "
            "mapping with its own format (docs/datasets.md)"
        )
    return f"{path}: not a readable HDF5 file ({error}); fetch it again"


def leaves(path: Path, group: h5py.Group, above: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset in `group`, however deep, with its names joined by `/`.

    Raises:
        RecordingError: one is kept in another file.
    """
    for name in group:
        key = f"{above}{name}"
        link = group.get(name, getlink=True)
        item: Any = None if isinstance(link, h5py.ExternalLink) else group[name]
        if isinstance(item, h5py.Group):
            yield from leaves(path, item, f"{key}/")
        elif item is None or item.external or item.is_virtual:
            raise RecordingError(f"{path}: {key!r} is kept in another file: write it into this one")
        else:
            yield key, item


def width(dataset: h5py.Dataset) -> int | None:
    """How many numbers a row has; None where it has none, or is a picture."""
    if dataset.dtype.kind not in "fiub" or not 1 <= dataset.ndim <= 2:
        return None
    return 1 if dataset.ndim == 1 else int(dataset.shape[1])


def attributes(group: h5py.Group) -> dict[str, Any]:
    """A group's attributes that are one number or short text."""
    found = {}
    for name, value in group.attrs.items():
        plain = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(plain, np.generic | np.ndarray) and plain.size == 1:
            plain = plain.item()
        if isinstance(plain, int | float | str) and len(str(plain)) <= 1000:
            found[name] = plain
    return found
