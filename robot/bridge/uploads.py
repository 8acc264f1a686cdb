"""Finished episodes, and rewards of those it has, on their way to the trainer: oldest first, a few
at a time.

While the trainer syncs one to its disk the next is read and under way, so that neither end waits
for the other's disk. Knows the journal and what is said of episodes; no sockets. Belongs to one
connection: the next one starts from the journal again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.transfer import STALLED_S, WINDOW, Upload
from fieldtune.robot.journal.entry import DamagedEpisode
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.rationed_log import RationedLog, printable

log = logging.getLogger(__name__)

LOOK_S = 0.05
AT_ONCE = 4  # episodes
_BYTES_AT_ONCE = WINDOW * wire.CHUNK_BYTES  # another is only begun under that: memory is small here


@dataclass
class _UnderWay:
    number: int
    upload: Upload
    size: int
    moved_at: float


class Uploads:
    """Says what to send, and notes in the journal what the trainer answers. Times are monotonic
    seconds; `quiet` logs what a trainer can cause.

    An episode's rewards follow once the trainer has the episode. A trainer that does not know them
    is sent no more of them on this connection.
    """

    def __init__(self, journal: Journal, quiet: RationedLog) -> None:
        self._journal = journal
        self._quiet = quiet
        self._under_way: dict[str, _UnderWay] = {}
        self._look_at = 0.0
        self._takes_rewards: bool | None = None  # until it has answered to some
        self._wait_until = 0.0  # the trainer's disk is full: a receipt for another is no reason

    def is_idle(self) -> bool:
        """Whether nothing is left to upload."""
        if self._under_way or self._journal.pending(1):
            return False
        return self._takes_rewards is False or not self._journal.pending_rewards(1)

    def speak(self, now: float) -> Iterator[wire.Body]:
        """What is to be sent now."""
        for each in self._under_way.values():
            if now - each.moved_at > STALLED_S:
                each.moved_at = now
                yield each.upload.offer()
        if now >= max(self._look_at, self._wait_until) and self._has_room():
            self._look_at = now + LOOK_S
            yield from self._begin(now)
        for each in self._under_way.values():
            yield from each.upload.chunks()

    def take_status(self, status: wire.UploadStatus, now: float) -> None:
        """The trainer holds that much of an episode."""
        known = self._under_way.get(status.sha256)
        if known is not None:
            self._understood(known)
            known.moved_at = now
            known.upload.take(status)

    def take_done(self, done: wire.UploadDone) -> None:
        """The trainer has stored an episode, or its rewards."""
        known = self._under_way.pop(done.sha256, None)
        if known is None:
            return
        self._understood(known)
        if known.upload.rewards:
            self._journal.acknowledge_rewards(known.number, done.sha256)
        else:
            self._journal.acknowledge(done.sha256)
        self._look_at = 0.0

    def take_refusal(self, refusal: wire.Refusal, now: float) -> bool:
        """The trainer will not take an episode, now or ever; False where it is about another."""
        sha256 = refusal.sha256
        if sha256 is None or sha256 not in self._under_way:
            return False
        known = self._under_way.pop(sha256)
        self._understood(known)
        if refusal.kind is not wire.RefusalKind.REJECTED:
            what = "rewards" if known.upload.rewards else "episode"
            self._quiet.warn("wait", f"{what} {sha256} has to wait: {refusal.reason}")
            self._wait_until = now + STALLED_S
        elif known.upload.rewards:
            self._reject_rewards(known.number, refusal.reason)
        else:
            self._reject(sha256, refusal.reason)
        return True

    def take_misunderstood(self) -> bool:
        """The trainer has not understood a message: whether that was an offer of rewards."""
        waiting = [sha256 for sha256, each in self._under_way.items() if each.upload.rewards]
        if self._takes_rewards is not None or not waiting:
            return False
        for sha256 in waiting:
            del self._under_way[sha256]
        self._takes_rewards = False
        self._quiet.warn(
            "rewards",
            "the trainer is of before rewards were sent: they stay here until it is newer",
        )
        return True

    def _understood(self, answered: _UnderWay) -> None:
        if answered.upload.rewards:
            self._takes_rewards = True

    def _has_room(self) -> bool:
        size = sum(each.size for each in self._under_way.values())
        return len(self._under_way) < AT_ONCE and size < _BYTES_AT_ONCE

    def _begin(self, now: float) -> Iterator[wire.Body]:
        known = {each.number for each in self._under_way.values()}
        for number in self._journal.pending(AT_ONCE):
            if number in known or not self._has_room():
                continue
            try:
                sha256, blob = self._journal.blob(number)
            except DamagedEpisode as error:
                self._reject(error.sha256, str(error))
                continue
            if len(blob) > wire.MAX_TRANSFER_BYTES:
                self._reject(sha256, f"{len(blob)} bytes, at most {wire.MAX_TRANSFER_BYTES} travel")
                continue
            yield self._set_out(number, Upload(sha256, blob), len(blob), now)
        yield from self._begin_rewards(now)

    def _begin_rewards(self, now: float) -> Iterator[wire.Body]:
        """Of episodes that the trainer has; one at a time until it is known to take them."""
        most = AT_ONCE if self._takes_rewards else int(self._takes_rewards is None)
        known = {each.number for each in self._under_way.values() if each.upload.rewards}
        for number in self._journal.pending_rewards(AT_ONCE):
            if number in known or len(known) >= most or not self._has_room():
                continue
            try:
                sha256, blob = self._journal.rewards_blob(number)
            except JournalError as error:  # its header is damaged: the next one's may go
                self._reject_rewards(number, str(error))
                continue
            known.add(number)
            yield self._set_out(number, Upload(sha256, blob, rewards=True), len(blob), now)

    def _set_out(self, number: int, upload: Upload, size: int, now: float) -> wire.Body:
        self._under_way[upload.sha256] = _UnderWay(number, upload, size, now)
        return upload.offer()

    def _reject(self, sha256: str, reason: str) -> None:
        said = f"episode {sha256} stays on the robot and is not offered again: {reason}"
        log.error("%s", printable(said))
        self._journal.reject(sha256, reason)
        self._look_at = 0.0

    def _reject_rewards(self, number: int, reason: str) -> None:
        said = f"rewards of episode {number} stay on the robot: {reason}"
        log.error("%s", printable(said))
        self._journal.reject_rewards(number)
