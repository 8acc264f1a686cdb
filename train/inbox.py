"""The trainer's inbox: episodes that came over the bridge, each one file named by its content.

Holds what is stored, half-received and refused, and survives a kill at any moment. It knows no
sockets and no learning, and must not import torch.

    inbox/<sha256>.episode               whole, checked, durable
    inbox/partial/<sha256>               the first bytes of one that is still coming
    inbox/refused/<sha256>.reason        why it will never be taken, its bytes beside it
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NoReturn

from export.atomic import sync, write_atomically
from robot import content
from robot.content import EpisodeError
from robot.episode import Episode

log = logging.getLogger(__name__)

SUFFIX = ".episode"


class Refused(Exception):
    """This episode will never be taken. The message says why."""


class Inbox:
    """A folder of episodes. One process receives into it; any may read."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._partial = self.path / "partial"
        self._refused = self.path / "refused"
        self._received_whole: set[str] = set()

    def prepare(self) -> None:
        """Make the folders. Raises `OSError`."""
        for folder in (self.path, self._partial, self._refused):
            folder.mkdir(parents=True, exist_ok=True)

    def is_stored(self, sha256: str) -> bool:
        return self._file(sha256).exists()

    def require_welcome(self, sha256: str) -> None:
        """Raises `Refused` for an episode that was refused before."""
        reason = self._refused / f"{sha256}.reason"
        if reason.exists():
            raise Refused(reason.read_text(encoding="utf-8"))

    def resume(self, sha256: str, size: int) -> int:
        """How many of its first bytes are here already, of `size` in all."""
        held = self._held(sha256)
        if held > size:
            (self._partial / sha256).unlink()
            return 0
        return held

    def append(self, sha256: str, size: int, offset: int, data: bytes) -> int:
        """Take the next bytes; return how many are held then. Bytes from elsewhere are left out.

        Raises `OSError` when the disk refuses; what is held stays, and the rest can be sent again.
        """
        held = self.resume(sha256, size)
        if offset != held or offset + len(data) > size:
            return held
        if offset == 0:
            self._received_whole.add(sha256)
        with (self._partial / sha256).open("ab", buffering=0) as file:
            written = file.write(data)
        return held + written

    def finish(self, sha256: str, robot: str | None = None) -> bool:
        """Check all the bytes held and store them durably; `robot` is who sent them, if known.

        Returns False when they are not what was announced because a power cut damaged the part
        that was here before: they are thrown away, to be sent again.

        Raises:
            Refused: they came as they are, and are not that episode, or another robot's. They are
                kept beside the reason.
        """
        partial = self._partial / sha256
        blob = partial.read_bytes()
        actual = content.address(blob)
        if actual != sha256:
            if sha256 not in self._received_whole:
                log.warning("%s was damaged on this disk and has to come again", partial)
                partial.unlink()
                return False
            self._refuse(sha256, f"its sha256 is {actual}, announced was {sha256}")
        try:
            recorded_by = content.unpack_episode(blob).header.robot
        except EpisodeError as error:
            self._refuse(sha256, str(error))
        if robot not in (None, recorded_by):
            self._refuse(sha256, f"it is of robot {recorded_by!r}, and robot {robot!r} sent it")
        sync(partial)
        partial.replace(self._file(sha256))
        sync(self.path)
        self._received_whole.discard(sha256)
        return True

    def episodes(self, after: Set[str]) -> Iterator[tuple[str, Episode]]:
        """Stored episodes whose address is not in `after`, in the order they arrived.

        A file that the disk has damaged since is set aside and reported in the log.
        """
        arrived = [
            (file.stat().st_mtime_ns, file.stem)
            for file in self.path.glob(f"*{SUFFIX}")
            if file.stem not in after
        ]
        for _, sha256 in sorted(arrived):
            blob = self._file(sha256).read_bytes()
            try:
                if content.address(blob) != sha256:
                    raise EpisodeError("its bytes have changed since it was stored")
                episode = content.unpack_episode(blob)
            except EpisodeError as error:
                aside = self._refused / f"{sha256}.damaged"
                log.error("%s: %s; moved to %s", self._file(sha256), error, aside)
                self._file(sha256).replace(aside)
                continue
            yield sha256, episode

    def _held(self, sha256: str) -> int:
        try:
            return (self._partial / sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def _refuse(self, sha256: str, reason: str) -> NoReturn:
        write_atomically(self._refused / f"{sha256}.reason", reason.encode())
        (self._partial / sha256).replace(self._refused / sha256)
        self._received_whole.discard(sha256)
        raise Refused(reason)

    def _file(self, sha256: str) -> Path:
        return self.path / f"{sha256}{SUFFIX}"
