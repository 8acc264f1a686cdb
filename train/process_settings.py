"""The environment of every training process: threads and allocator. Reads no settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping

THREADS = "FIELDTUNE_THREADS"


def environment(current: Mapping[str, str]) -> dict[str, str]:
    """The environment that learning runs best in.

    Threads are set whatever was inherited: images and schedulers export `OMP_NUM_THREADS` unasked,
    and two processes of two spinning threads each ran forty times slower than with one. Who does
    want more says so with `FIELDTUNE_THREADS`. What is set for the allocator is
    rarely set by accident, and kept. `OPENBLAS_CORETYPE` is left alone: it may be a cure for a
    processor that OpenBLAS misjudges, and no large numpy product is on a hot path here.

    Raises:
        ValueError: `FIELDTUNE_THREADS` is not a positive whole number.
    """
    threads = current.get(THREADS, "1")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", threads):
        raise ValueError(f"{THREADS} is {threads!r}, expected a whole number from 1: unset it")
    wanted = dict(current)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        wanted[name] = threads
    # Keep freed memory instead of giving it back to the kernel after every batch: twice the speed.
    wanted.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    wanted.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**31 - 1))
    return wanted
