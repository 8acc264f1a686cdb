"""The trainer's inbox: episodes that came over the bridge, each one file named by its content.

Holds what is stored, and for each sender what is half-received and refused; survives a kill at any
moment. It knows no sockets and no learning, and must not import torch.

    inbox/<sha256>.episode                  whole, checked, durable
    inbox/rewards/<sha256>.rewards          what steps of an episode were worth, whole too
    inbox/partial/<sender>/<sha256>         the first bytes of one that is still coming
    inbox/refused/<sender>/<sha256>.reason  why it will never be taken from there, its bytes beside
    inbox/refused/<sha256>.damaged          what this disk made of one that was stored
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from fieldtune.files import sync
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import Episode, EpisodeHeader
from fieldtune.robot.episodes.rewards import EpisodeRewards, are_rewards, unpack_rewards
from fieldtune.train.bridge.inbox_share import Refused, Share

__all__ = ["SUFFIX", "Inbox", "Refused", "damaged"]

log = logging.getLogger(__name__)

SUFFIX = ".episode"
_REWARDS = ".rewards"
_DAMAGED = ".damaged"
_SENDERS_KEPT = 1_024  # in memory
_LOOKED_AT_KEPT = 4_096
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Inbox:
    """A folder of episodes and their rewards. One process receives into it; any may read.

    What a sender half sends, or is refused, is its own affair: nobody can have another's episode
    refused, or use up what another may leave here. What is stored belongs to all.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._partial = self.path / "partial"
        self._refused = self.path / "refused"
        self._rewards = self.path / "rewards"
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._unreadable: set[str] = set()
        self._looked_at: dict[str, tuple[int, int, int]] = {}  # files whose bytes were looked at
        self._setting_aside = threading.Lock()  # who receives and who learns may both find damage

    def prepare(self) -> None:
        """Make the folders. Raises `OSError`.

        Half uploads from before there were senders are dropped: nobody knows whose they were. What
        was refused then stays for people to see, and may be offered again.
        """
        for folder in (self.path, self._partial, self._refused, self._rewards):
            folder.mkdir(parents=True, exist_ok=True)
        for file in self._partial.iterdir():
            if _SHA256.fullmatch(file.name) and file.is_file():
                log.info("%s is of no known sender, and has to come again", file)
                file.unlink()

    def is_stored(self, sha256: str) -> bool:
        """Whether an episode, or rewards, are here as they came. What the disk has damaged since is
        set aside: it may come again.

        Reads a file once, and again where it has changed. Raises `OSError` where the disk refuses.
        """
        return self._holds(self._file(sha256), sha256) or self._holds(
            self._rewards_file(sha256), sha256
        )

    def _holds(self, file: Path, sha256: str) -> bool:
        try:
            status = file.stat()
            found = status.st_ino, status.st_size, status.st_mtime_ns
            if self._looked_at.get(sha256) == found:
                return True
            blob = file.read_bytes()
        except FileNotFoundError:
            return False
        if codec.address(blob) != sha256:
            if file.suffix == _REWARDS:
                log.error("%s: its bytes have changed since it was stored: removed", file)
                file.unlink(missing_ok=True)
            else:
                self._set_aside(sha256)
            return False
        self._looked_at[sha256] = found
        if len(self._looked_at) > _LOOKED_AT_KEPT:
            del self._looked_at[next(iter(self._looked_at))]
        return True

    def share(self, sender: str) -> Share:
        """What is under way from `sender`, and what it was refused."""
        share = self._shares.pop(sender, None) or Share(self.path, sender)
        self._shares[sender] = share
        if len(self._shares) > _SENDERS_KEPT:
            self._shares.popitem(last=False)
        return share

    def finish(self, sender: str, sha256: str, robot: str | None = None) -> bool:
        """Check all that `sender` has sent, an episode or rewards, and store it durably.

        Returns False when they are not what was announced because a power cut damaged the part
        that was here before: they are thrown away, to be sent again.

        Args:
            robot: the robot that must have recorded them; None where nobody knows who sends.

        Raises:
            Refused: they came as they are, and are not that episode, or another robot's. They are
                kept beside the reason, and may still come from another sender.
        """
        share = self.share(sender)
        partial = share.file(sha256)
        blob = partial.read_bytes()
        actual = codec.address(blob)
        if actual != sha256:
            if not share.is_all_of_this_life(sha256):
                log.warning("%s was damaged on this disk and has to come again", partial)
                share.drop(sha256)
                return False
            share.refuse(sha256, f"its sha256 is {actual}, announced was {sha256}")
        stored = self._rewards_file(sha256) if are_rewards(blob) else self._file(sha256)
        try:
            if stored.suffix == _REWARDS:
                recorded_by = unpack_rewards(blob).robot
            else:
                recorded_by = codec.unpack_episode(blob).header.robot
        except EpisodeError as error:
            share.refuse(sha256, str(error))
        if robot not in (None, recorded_by):
            share.refuse(sha256, f"it is of robot {recorded_by!r}, and robot {robot!r} sent it")
        sync(partial)
        partial.replace(stored)
        sync(stored.parent)
        share.forget(sha256)
        return True

    def episodes(self, after: Set[str]) -> Iterator[tuple[str, Episode]]:
        """Stored episodes whose address is not in `after`, in the order they arrived.

        A file that the disk has damaged since is set aside, and the log says whose it was and how
        it comes again. What cannot be read is reported and left out: nobody's episode waits for it.
        """
        arrived = []
        for file in self.path.glob(f"*{SUFFIX}"):
            if file.stem not in after:
                with self._readable(file.stem):
                    arrived.append((file.stat().st_mtime_ns, file.stem))
        for _, sha256 in sorted(arrived):
            blob = None
            with self._readable(sha256):
                blob = self._file(sha256).read_bytes()
            if blob is None:
                continue
            try:
                episode = _sound(sha256, blob)
            except EpisodeError:
                with self._readable(sha256):
                    self._set_aside(sha256)
                continue
            yield sha256, episode

    def rewards(self) -> dict[tuple[str, str], EpisodeRewards]:
        """Stored rewards by their episode's address and robot: of several the last that came.

        A damaged file is reported and left out: `fieldtune-robot journal offer` sends it again.
        """
        arrived = [(file.stat().st_mtime_ns, file) for file in self._rewards.glob(f"*{_REWARDS}")]
        found: dict[tuple[str, str], EpisodeRewards] = {}
        for _, file in sorted(arrived):
            try:
                blob = file.read_bytes()
                if codec.address(blob) != file.stem:
                    raise EpisodeError("its bytes have changed since it was stored")
                told = unpack_rewards(blob)
            except (OSError, EpisodeError) as error:
                log.error("%s: left out: %s", file, error)
                continue
            found[told.rewards_of, told.robot] = told
        return found

    def _set_aside(self, sha256: str) -> None:
        """Move a damaged file away, unless another thread has, and the episode has come again."""
        file, aside = self._file(sha256), self._refused / f"{sha256}{_DAMAGED}"
        with self._setting_aside:
            try:
                blob = file.read_bytes()
                _sound(sha256, blob)
            except FileNotFoundError:
                return
            except EpisodeError as error:
                file.replace(aside)
                log.error("%s: %s; moved to %s%s", file, error, aside, _way_back(sha256, blob))

    @contextmanager
    def _readable(self, sha256: str) -> Iterator[None]:
        """What cannot be read is told once, and tried again at the next look."""
        try:
            yield
        except OSError as error:
            if sha256 not in self._unreadable:
                log.error("%s: left out for now: %s", self._file(sha256), error.strerror)
            self._unreadable.add(sha256)

    def _file(self, sha256: str) -> Path:
        return self.path / f"{sha256}{SUFFIX}"

    def _rewards_file(self, sha256: str) -> Path:
        return self._rewards / f"{sha256}{_REWARDS}"


def damaged(inbox: Path) -> dict[str, EpisodeHeader | None]:
    """What the disk of `inbox` has damaged and no robot has sent again, by address: whose it was by
    what is left of it, None where nothing tells."""
    found: dict[str, EpisodeHeader | None] = {}
    for aside in sorted((inbox / "refused").glob(f"*{_DAMAGED}")):
        if not _SHA256.fullmatch(aside.stem) or (inbox / f"{aside.stem}{SUFFIX}").exists():
            continue
        try:
            with aside.open("rb") as file:
                found[aside.stem] = codec.unpack_head(file.read(codec.HEAD_BYTES))
        except (OSError, EpisodeError):
            found[aside.stem] = None
    return found


def _sound(sha256: str, blob: bytes) -> Episode:
    """The episode. Raises `EpisodeError` where these are not its bytes, or no episode."""
    if codec.address(blob) != sha256:
        raise EpisodeError("its bytes have changed since it was stored")
    return codec.unpack_episode(blob)


def _way_back(sha256: str, blob: bytes) -> str:
    """Who may still have the episode that these bytes were, and how it is sent again."""
    if not _SHA256.fullmatch(sha256):  # it came from no robot
        return ""
    try:
        known = codec.unpack_head(blob)
    except EpisodeError:
        return (
            ". Whose it was cannot be read: robots that offer what they have again "
            "(`fieldtune-robot journal offer --episodes 1-N`) send what is not here"
        )
    return (
        f". It was episode {known.number} of robot {known.robot!r}: there, `fieldtune-robot "
        f"journal offer --episodes {known.number}` sends it again"
    )
