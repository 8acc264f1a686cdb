"""Episodes that robots have sent into a run's inbox, as news; nothing there is touched.

Knows the inbox's files. It must not know how anything is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.journal.entry import Entry, EntryState
from fieldtune.robot.view.news import News
from fieldtune.train.bridge.inbox import SUFFIX

AT_ONCE = 200  # episodes in one look


@dataclass(frozen=True)
class Received:
    """A whole episode, when it came (the trainer's wall clock, ns), and whose it is."""

    robot: str
    news: News
    wall_ns: int


class Arrivals:
    """Looks into `inbox` again and again; an episode that was read is not read again."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._read: set[str] = set()

    def look(self) -> Iterator[Received]:
        """What has come since, oldest first; what cannot be read is left to who learns of it."""
        came: list[tuple[int, Path]] = []
        for path in self._inbox.glob(f"*{SUFFIX}"):
            if path.name in self._read:
                continue
            try:
                came.append((path.stat().st_mtime_ns, path))
            except OSError:  # set aside since
                continue
        for wall_ns, path in sorted(came)[:AT_ONCE]:
            self._read.add(path.name)
            try:
                episode = codec.unpack_episode(path.read_bytes())
            except (OSError, EpisodeError):
                continue
            header = episode.header
            entry = Entry(
                number=header.number,
                state=EntryState.ACKNOWLEDGED,
                steps=len(episode.steps),
                header=header,
                footer=episode.footer,
                sha256=path.stem,
                reason="",
                wall_ns=None,
            )
            yield Received(header.robot, News(entry, True, episode.steps, None, True), wall_ns)
