"""One file on its way over the bridge: an episode going up, or a bundle coming down, in chunks.

Keeps count of what was sent, received and is still under way. It knows no sockets, no clock and no
disk: the connection asks it what to say next.
"""

from __future__ import annotations

from collections.abc import Iterator

from fieldtune.robot.bridge.wire import (
    CHUNK_BYTES,
    BundleChunk,
    BundleRequest,
    RewardsOffer,
    UploadChunk,
    UploadOffer,
    UploadStatus,
)

WINDOW = 4  # chunks under way at most
STALLED_S = 2.0  # of silence about a file, before it is spoken of again


class Upload:
    """The bytes of an episode, or of its `rewards`. Nothing is sent before the trainer has said
    what it holds already."""

    def __init__(self, sha256: str, blob: bytes, *, rewards: bool = False) -> None:
        self.sha256 = sha256
        self.rewards = rewards
        self._blob = blob
        self._held: int | None = None
        self._sent = 0

    def offer(self) -> UploadOffer | RewardsOffer:
        """Say what there is; also after silence, which makes the trainer say what it holds."""
        self._held = None
        kind = RewardsOffer if self.rewards else UploadOffer
        return kind(self.sha256, len(self._blob))

    def take(self, status: UploadStatus) -> None:
        """The trainer holds that much: where to go on, or that the chunks sent have arrived."""
        if self._held is None:
            self._held = self._sent = min(status.offset, len(self._blob))
        else:
            self._held = max(self._held, status.offset)

    def chunks(self) -> Iterator[UploadChunk]:
        """What may be sent now."""
        while (
            self._held is not None
            and self._sent < len(self._blob)
            and self._sent - self._held < WINDOW * CHUNK_BYTES
        ):
            data = self._blob[self._sent : self._sent + CHUNK_BYTES]
            offset, self._sent = self._sent, self._sent + len(data)
            yield UploadChunk(self.sha256, len(self._blob), offset, data)


class Download:
    """A bundle, asked for chunk by chunk. Its `size` is known from the first chunk on, before that
    0."""

    def __init__(self, bundle_id: str) -> None:
        self.bundle_id = bundle_id
        self.received = 0
        self.size = 0
        self._asked = 0

    @property
    def complete(self) -> bool:
        return 0 < self.size == self.received

    def restart(self) -> None:
        """After silence: ask again for all that has not come."""
        self._asked = self.received

    def requests(self) -> Iterator[BundleRequest]:
        """What may be asked for now."""
        while self._asked < (self.size or 1) and (
            self._asked - self.received < WINDOW * CHUNK_BYTES
        ):
            offset, self._asked = self._asked, self._asked + CHUNK_BYTES
            yield BundleRequest(self.bundle_id, offset)

    def take(self, chunk: BundleChunk) -> bool:
        """Whether the chunk is the next one, to be kept."""
        if chunk.bundle_id != self.bundle_id or chunk.offset != self.received:
            return False
        if self.size not in (0, chunk.size) or chunk.offset + len(chunk.data) > chunk.size:
            return False
        self.size = chunk.size
        self.received += len(chunk.data)
        return True
