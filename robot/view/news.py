"""What a journal says anew: episodes begun and ended, their steps and rewards, in small pieces.

Each look opens the journal, asks a few short questions and closes it: a viewer that hangs has
nothing open. It must not know how anything is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fieldtune.robot.episodes.episode import Step
from fieldtune.robot.journal.entry import Entry
from fieldtune.robot.journal.journal import Journal

AT_ONCE = 5_000  # steps in one look
_EPISODES = 16  # looked at in one look
_UNSETTLED = 4  # rewards of the newest few may still come


@dataclass(frozen=True)
class News:
    """What came of one episode since the look before.

    `rewards` are all that are known by step, None where they are as before. `begun` and `ended` are
    true once each, with the look that first saw it; an episode has all its steps when it `ended`.
    """

    entry: Entry
    begun: bool
    steps: list[Step]
    rewards: dict[int, float] | None
    ended: bool


@dataclass
class _Told:
    steps: int = 0
    rewards: dict[int, float] = field(default_factory=dict)
    ended: bool = False


class Newsreader:
    """Looks at the journal at `path` again and again.

    Args:
        path: of the journal; there may be none yet.
        first, last: the episodes to read, both included; no `last` for those to come too.
    """

    def __init__(self, path: Path, first: int = 1, last: int | None = None) -> None:
        self.path = path
        self._first, self._last = first, last
        self._told: dict[int, _Told] = {}

    def look(self) -> list[News]:
        """What is new; empty where nothing is. Large journals take many looks.

        Raises:
            JournalError, sqlite3.Error: the journal cannot be read.
        """
        if not self.path.exists():
            return []
        found: list[News] = []
        with Journal.read(self.path) as journal:
            newest = journal.next_number() - 1
            room = AT_ONCE
            for entry in journal.entries(self._first, _EPISODES):
                if self._last is not None and entry.number > self._last:
                    break
                news = self._of(journal, entry, room)
                found += [] if news is None else [news]
                room -= 0 if news is None else len(news.steps)
                if room <= 0:
                    break
        self._settle(newest)
        return found

    def _of(self, journal: Journal, entry: Entry, room: int) -> News | None:
        number = entry.number
        begun = number not in self._told
        told = self._told.setdefault(number, _Told())
        steps = [] if told.ended else journal.steps(number, told.steps, room)
        told.steps += len(steps)
        ended = not told.ended and entry.footer is not None and told.steps >= entry.footer.steps
        told.ended |= ended
        rewards: dict[int, float] | None = journal.rewards(number)
        if rewards == told.rewards:
            rewards = None
        else:
            told.rewards = rewards or {}
        if not (begun or steps or ended or rewards is not None):
            return None
        return News(entry, begun, steps, rewards, ended)

    def _settle(self, newest: int) -> None:
        """Look no more at episodes of which nothing else can come."""
        for number in sorted(self._told):
            if not self._told[number].ended or number > newest - _UNSETTLED:
                break
            del self._told[number]
            self._first = number + 1


def trial_of_newest(path: Path) -> int:
    """The first episode of the trial that is under way; 1 where there is no episode yet.

    Raises:
        JournalError, sqlite3.Error: the journal cannot be read.
    """
    if not path.exists():
        return 1
    with Journal.read(path) as journal:
        newest = journal.next_number() - 1
        entries = journal.entries(newest, 1)
    return min(max(1, entries[0].header.trial), newest) if entries else 1
