"""The bundles that robots may fetch now: the newest, and the one before for those half-way.

Knows bundles and how to hand them out in pieces; no sockets, no robots. Safe between threads.
"""

from __future__ import annotations

import threading

from fieldtune.export.bundle import parse_bundle
from fieldtune.robot.bridge import wire
from fieldtune.robot.bridge.wire import RefusalKind

_KEPT = 2


class PublishedBundles:
    """The newest two bundles, in memory: the files may change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bundles: dict[str, bytes] = {}

    def put(self, data: bytes, source: str) -> str:
        """Make a bundle the newest; return its id. Raises `BundleError` when it is not sound."""
        bundle_id = parse_bundle(data, source=source).id
        with self._lock:
            self._bundles.pop(bundle_id, None)
            self._bundles[bundle_id] = data
            while len(self._bundles) > _KEPT:
                self._bundles.pop(next(iter(self._bundles)))
        return bundle_id

    def newest(self) -> str | None:
        """The newest bundle's id."""
        with self._lock:
            return next(reversed(self._bundles), None)

    def chunk(self, request: wire.BundleRequest) -> wire.BundleChunk | wire.Refusal:
        """The bytes asked for, or why not."""
        with self._lock:
            data = self._bundles.get(request.bundle_id)
        if data is None or request.offset >= len(data):
            return wire.Refusal(
                RefusalKind.REJECTED,
                f"no bundle with bytes from {request.offset} is published under this id",
                request.bundle_id,
            )
        part = data[request.offset : request.offset + wire.CHUNK_BYTES]
        return wire.BundleChunk(request.bundle_id, len(data), request.offset, part)
