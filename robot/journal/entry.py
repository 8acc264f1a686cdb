"""What the journal says about one episode, without its steps. Does not know the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import EpisodeFooter, EpisodeHeader
from fieldtune.robot.journal.file import JournalError
from fieldtune.str_enum import StrEnum


class EntryState(StrEnum):
    """How far an episode has come."""

    OPEN = "open"
    PENDING = "pending"  # finished; the trainer has not confirmed it
    ACKNOWLEDGED = "acknowledged"  # stored durably by the trainer
    REJECTED = "rejected"  # the trainer will never take it; kept here


@dataclass(frozen=True)
class Entry:
    """One episode's line in the journal. `footer` and `sha256` are None while it is open.

    `wall_ns` is the robot's wall clock at `header.started_ns`, since 1970; None where the journal
    was written before it was kept. No clock promises that it was right.
    """

    number: int
    state: EntryState
    steps: int
    header: EpisodeHeader
    footer: EpisodeFooter | None
    sha256: str | None
    reason: str
    wall_ns: int | None


class DamagedEpisode(JournalError):
    """A finished episode no longer has the bytes that it was closed with."""

    def __init__(self, reason: str, sha256: str) -> None:
        super().__init__(reason)
        self.sha256 = sha256


def read_entry(
    path: Path,
    number: int,
    header: bytes,
    footer: bytes | None,
    sha256: str | None,
    receipt: str | None,
    reason: str,
    wall_ns: int | None,
    steps: int,
) -> Entry:
    """The entry of one row of the journal's table.

    Args:
        path: the journal, for the error.
        number: of the episode.
        header, footer: packed; no footer while the episode is open.
        sha256: the episode's content address; None while it is open.
        receipt: the trainer's, `acknowledged` or `rejected`; None before there is one.
        reason: why the trainer rejected it; empty otherwise.
        wall_ns: the wall clock at the episode's start, since 1970; None where it was not kept.
        steps: how many the journal has.

    Raises:
        JournalError: the row is damaged.
    """
    try:
        return Entry(
            number=number,
            state=EntryState.OPEN if footer is None else EntryState(receipt or EntryState.PENDING),
            steps=steps,
            header=codec.unpack_header(header),
            footer=None if footer is None else codec.unpack_footer(footer),
            sha256=sha256,
            reason=reason,
            wall_ns=wall_ns,
        )
    except (EpisodeError, ValueError) as error:
        raise JournalError(
            f"{path}: episode {number}: {error}: `fieldtune-robot journal verify` says what can be "
            "done"
        ) from error
