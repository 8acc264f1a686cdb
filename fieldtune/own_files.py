"""A digest of this package's own code, by which others know whether it is the same.

Must not import any of what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HALVES = ("", "export", "robot", "sim", "train")


@cache
def digest(halves: Sequence[str] = HALVES, package: Path = Path(__file__).parent) -> str:
    """Of every Python file of some parts of the package (`""`: its own modules), by its place
    within the package; the parts may be links."""
    known = hashlib.sha256()
    for half in halves:
        folder = (package / half).resolve()
        for file in sorted(folder.rglob("*.py") if half else folder.glob("*.py")):
            known.update(f"{half}/{file.relative_to(folder)}\0".encode())
            known.update(hashlib.sha256(file.read_bytes()).digest())
    return known.hexdigest()[:12]
