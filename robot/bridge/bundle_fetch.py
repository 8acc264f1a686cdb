"""One bundle on its way from the trainer: fetched into a file, tried, and only then handed on.

Owns that file and the trial's process, for as long as the bridge lives: a line that is cut and
mended costs neither. Never waits for the trial, and never looks into a bundle itself. It must not
know sockets, nor what the bundle is for.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fieldtune.files import sync
from fieldtune.robot.bridge.transfer import STALLED_S, Download
from fieldtune.robot.bridge.wire import BundleChunk, BundleRequest
from fieldtune.robot.bundles.store import make_room
from fieldtune.robot.bundles.trial import BESIDE_THE_LOOP, Trial, Verdict
from fieldtune.robot.rationed_log import RationedLog

log = logging.getLogger(__name__)

_UNDER_WAY = ".part"


@dataclass(frozen=True)
class FetchRules:
    """What the robot says about bundles from the trainer; asked from the bridge's thread.

    `limit_bytes` is for the whole folder, None for no bound. `needed` names the ids that stay
    there, and `why_bad` says why one is not to be fetched.
    """

    limit_bytes: int | None = None
    needed: Callable[[], Set[str]] = frozenset
    why_bad: Callable[[str], str | None] = lambda _: None


ANY_BUNDLE = FetchRules()


class BundleFetch:
    """Brings what the trainer announces into `folder`. `newest` is the last that stood its trial.

    `verdicts` holds what came of trials, for whoever remembers it: taken out from another thread.
    """

    def __init__(self, folder: Path, rules: FetchRules) -> None:
        self.folder = Path(folder)
        self.newest: Path | None = None
        self.verdicts: deque[Verdict] = deque()
        self._rules = rules
        self._quiet = RationedLog(log)
        self._download: Download | None = None
        self._file: BinaryIO | None = None
        self._trial: Trial | None = None
        self._refused: set[str] = set()
        self._spoilt: set[str] = set()  # came as other bytes than its id says
        self._moved_at = 0.0
        self._room_at = 0.0  # before that, a bundle would find the disk full again

    def want(self, bundle_id: str) -> None:
        """The trainer's newest bundle is this one."""
        path = self._path(bundle_id)
        fetching = self._download is not None and self._download.bundle_id == bundle_id
        if self._trial is not None or fetching or self.newest == path:
            return
        if bundle_id in self._refused | self._spoilt or time.monotonic() < self._room_at:
            return
        bad = self._rules.why_bad(bundle_id)
        if bad is not None:
            self._refuse(bundle_id, bad)
            return
        self.close()
        if path.exists():
            self._try(path, bundle_id)
        else:
            self._download, self._moved_at = Download(bundle_id), time.monotonic()

    def requests(self) -> Iterator[BundleRequest]:
        """What to ask the trainer for now."""
        if self._download is None:
            return
        now = time.monotonic()
        if now - self._moved_at > STALLED_S:
            self._moved_at = now
            self._download.restart()
        yield from self._download.requests()

    def reconnected(self) -> None:
        """What was asked for on the line before will not come, and what it spoilt may be whole."""
        self._spoilt.clear()
        if self._download is not None:
            self._download.restart()

    def take(self, chunk: BundleChunk) -> None:
        """A piece has come, perhaps the next one."""
        download = self._download
        if download is None or not download.take(chunk):
            return
        self._moved_at = time.monotonic()
        try:
            if self._file is None:
                self._file = self._begin(download)
            self._file.write(chunk.data)
            if download.complete:
                self._file.close()
                self._file = self._download = None
                self._try(self._part(download.bundle_id), download.bundle_id)
        except OSError as error:
            self.close()
            self._later(download.bundle_id, error)

    def declined(self, bundle_id: str | None, reason: str) -> None:
        """The trainer will not send it."""
        if self._download is not None and self._download.bundle_id == bundle_id:
            self._quiet.warn("refusal", f"no bundle {bundle_id}: {reason}")
            self.close()

    def look(self) -> None:
        """Hand on a bundle whose trial has ended well.

        One that was refused is deleted where it was just fetched. Where it was here already it
        stays, unless the disk has spoilt it: then it is fetched again.
        """
        trial = self._trial
        if trial is None or (verdict := trial.verdict()) is None:
            return
        self._trial = None
        self.verdicts.append(verdict)
        fetched = trial.path.suffix == _UNDER_WAY
        if not verdict.refused:
            self._hand_on(trial, fetched)
            return
        if fetched or not verdict.genuine:
            _remove(trial.path)
        if verdict.genuine:
            self._refuse(trial.bundle_id, verdict.refused)
        elif fetched:
            self._spoilt.add(trial.bundle_id)
            log.error("bundle %s is not used: %s", trial.bundle_id, verdict.refused)

    def close(self) -> None:
        """Give up what is under way. Safe to call twice."""
        if self._trial is not None:
            self._trial.close()
            _remove(self._part(self._trial.bundle_id))
            self._trial = None
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk refuses what is left, too
                self._file.close()
            self._file = None
        if self._download is not None:
            _remove(self._part(self._download.bundle_id))
            self._download = None

    def _begin(self, download: Download) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f".*{_UNDER_WAY}"):  # by a process that was killed
            _remove(left)
        full = make_room(self.folder, download.size, self._rules.limit_bytes, self._needed())
        if full:
            raise OSError(full)
        return self._part(download.bundle_id).open("wb")

    def _needed(self) -> set[str]:
        offered = set() if self.newest is None else {self.newest.stem}
        return offered | self._rules.needed()

    def _hand_on(self, trial: Trial, fetched: bool) -> None:
        path = self._path(trial.bundle_id)
        try:
            if fetched:
                trial.path.replace(path)
                sync(self.folder)
        except OSError as error:
            _remove(trial.path)
            self._later(trial.bundle_id, error)
        else:
            self.newest = path
            log.info("bundle %s has arrived", trial.bundle_id)

    def _try(self, path: Path, bundle_id: str) -> None:
        try:
            self._trial = Trial(path, bundle_id, nice=BESIDE_THE_LOOP).start()
        except OSError as error:
            _remove(self._part(bundle_id))
            self._later(bundle_id, error)

    def _refuse(self, bundle_id: str, reason: str) -> None:
        self._refused.add(bundle_id)
        log.error("bundle %s is not used: %s", bundle_id, reason)

    def _later(self, bundle_id: str, error: OSError) -> None:
        self._room_at = time.monotonic() + STALLED_S
        self._quiet.warn("room", f"bundle {bundle_id} has to wait: {error}", logging.ERROR)

    def _path(self, bundle_id: str) -> Path:
        return self.folder / f"{bundle_id}.bundle"

    def _part(self, bundle_id: str) -> Path:
        return self.folder / f".{bundle_id}{_UNDER_WAY}"


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
