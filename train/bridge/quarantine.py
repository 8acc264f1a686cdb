"""A run's quarantine: episodes that came whole and are not learned from, and why.

    RUN/quarantine/<sha256>.json         the robot, its episode's number, the reason

Their bytes stay in the inbox: nothing is lost. Who removes a file here has the episode looked at
again by the next start. Knows no learning, and must not import torch.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from fieldtune.files import write_atomically

FOLDER = "quarantine"
SUFFIX = ".json"


class Quarantined(msgspec.Struct, frozen=True):
    """One episode that is not learned from."""

    robot: str
    number: int
    reason: str


class Quarantine:
    """The one of a run; any process may read it, the one that trains adds to it."""

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER

    def put(self, sha256: str, why: Quarantined) -> None:
        """Keep `why`, durably. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / f"{sha256}{SUFFIX}", msgspec.json.encode(why))

    def addresses(self) -> list[str]:
        """Which episodes are in it, the latest last."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):  # removed since
                found.append((path.stat().st_mtime_ns, path.name.removesuffix(SUFFIX)))
        return [sha256 for _, sha256 in sorted(found)]

    def read(self, sha256: str) -> Quarantined | None:
        """Why this one is; None where that cannot be read (any more)."""
        try:
            return _decoder.decode((self._folder / f"{sha256}{SUFFIX}").read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None


_decoder = msgspec.json.Decoder(Quarantined)
