"""What one sender has half sent, and what of it was refused: its own, within a bound of its own.

Holds two folders of files named by content. It knows no sockets, does not know what an episode is,
and never looks at what another sender has.

Within its bound the sender's own oldest files go to make room, never another's: half an upload can
be sent again, and what was refused is still where it came from.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NoReturn

from fieldtune.files import write_atomically
from fieldtune.robot.bridge import wire

PARTIAL_BYTES = 2 * wire.MAX_TRANSFER_BYTES
PARTIALS = 16  # a robot sends four at once
REFUSED_BYTES = wire.MAX_TRANSFER_BYTES
REFUSALS = 256

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_REASON = ".reason"


class Refused(Exception):
    """This episode will never be taken from this sender. The message says why."""


class Share:
    """One sender's share of the inbox at `inbox`. `sender` may be any text."""

    def __init__(self, inbox: Path, sender: str) -> None:
        self._partial = inbox / "partial" / folder_name(sender)
        self._refused = inbox / "refused" / folder_name(sender)
        self._begun: set[str] = set()  # in this life: whose first byte came to this process

    def require_welcome(self, sha256: str) -> None:
        """Raises `Refused` for what was refused before."""
        try:
            reason = (self._refused / f"{sha256}{_REASON}").read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        raise Refused(reason)

    def resume(self, sha256: str, size: int) -> int:
        """How many of its first bytes are here already, of `size` in all."""
        try:
            held = self.file(sha256).stat().st_size
        except FileNotFoundError:
            return 0
        if held > size:
            self.drop(sha256)
            return 0
        return held

    def append(self, sha256: str, size: int, offset: int, data: bytes) -> int:
        """Take the next bytes of an upload; return how many of it are held then.

        Args:
            sha256: of all of it.
            size: of all of it, in bytes.
            offset: where `data` begins. Bytes that do not follow those held, or go beyond `size`,
                are left out.
            data: the bytes.

        Raises:
            OSError: the disk refuses; what is held stays, and the rest can be sent again.
        """
        held = self.resume(sha256, size)
        if offset != held or offset + len(data) > size:
            return held
        self._partial.mkdir(exist_ok=True)
        self._make_room(sha256, len(data))
        if offset == 0:
            self._begun.add(sha256)
        with self.file(sha256).open("ab", buffering=0) as file:
            written = file.write(data)
        return held + written

    def file(self, sha256: str) -> Path:
        """Where the bytes lie that have come so far."""
        return self._partial / sha256

    def is_all_of_this_life(self, sha256: str) -> bool:
        """Whether every byte held came to this process; a power cut may have damaged others."""
        return sha256 in self._begun

    def drop(self, sha256: str) -> None:
        """Forget the bytes held."""
        self.file(sha256).unlink(missing_ok=True)
        self._begun.discard(sha256)

    def forget(self, sha256: str) -> None:
        """Its bytes have been moved away: it is stored."""
        self._begun.discard(sha256)

    def refuse(self, sha256: str, reason: str) -> NoReturn:
        """Never take this from this sender again. Keeps the bytes beside the reason, for people."""
        self._refused.mkdir(exist_ok=True)
        write_atomically(self._refused / f"{sha256}{_REASON}", reason.encode())
        self.file(sha256).replace(self._refused / sha256)
        self._begun.discard(sha256)
        self._thin_refused()
        raise Refused(reason)

    def _make_room(self, sha256: str, coming: int) -> None:
        """For `coming` bytes of one upload, by dropping those that have not moved for longest."""
        others = [file for file in _oldest_first(self._partial) if file[1].name != sha256]
        held = self._size(sha256) + coming + sum(size for _, _, size in others)
        for number, (_, path, size) in enumerate(others):
            if held <= PARTIAL_BYTES and len(others) - number < PARTIALS:
                return
            self.drop(path.name)
            held -= size

    def _size(self, sha256: str) -> int:
        try:
            return self.file(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def _thin_refused(self) -> None:
        files = _oldest_first(self._refused)
        reasons = [path for _, path, _ in files if path.suffix == _REASON]
        for path in reasons[:-REFUSALS]:
            path.unlink(missing_ok=True)
        kept = 0
        for _, path, size in reversed([file for file in files if file[1].suffix != _REASON]):
            kept += size
            if kept > REFUSED_BYTES:
                path.unlink(missing_ok=True)


def folder_name(sender: str) -> str:
    """A name that is one file's name on any disk, another one for every sender.

    Anything but a short name in small letters gets a digest: disks may not tell `A` from `a`.
    """
    if _PLAIN.fullmatch(sender):
        return sender
    readable = re.sub(r"[^a-z0-9_-]", "_", sender.lower())[:40]
    digest = hashlib.sha256(sender.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}~{digest[:16]}"


def _oldest_first(folder: Path) -> list[tuple[int, Path, int]]:
    """Time, path and size of each file."""
    found = [(path, path.stat()) for path in folder.iterdir()]
    return sorted((status.st_mtime_ns, path, status.st_size) for path, status in found)
