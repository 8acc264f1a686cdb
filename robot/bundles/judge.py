"""Whether a bundle may run on this robot: what is known of it, or else a trial.

Joins the record of bundles and their trials. It must not know drivers, limits or episodes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from fieldtune.export.bundle import Bundle, BundleError, bundle_id, read_bundle
from fieldtune.robot.bundles.trial import Trial, Verdict, software
from fieldtune.robot.bundles.trust import BundleRecord, BundleRecordError

log = logging.getLogger(__name__)


class BundleJudge:
    """Remembers verdicts in `record_path`; a bundle that was sound there is not tried again."""

    def __init__(self, record_path: Path, probation: int) -> None:
        self._record_path, self._probation = record_path, probation
        self._record: BundleRecord | None = None
        self._begun: Trial | None = None

    @property
    def record(self) -> BundleRecord:
        """What this robot has seen of bundles. Raises
        `fieldtune.robot.bundles.trust.BundleRecordError`."""
        if self._record is None:
            self._record = BundleRecord(self._record_path, self._probation, software())
        return self._record

    def expect(self, path: Path) -> None:
        """Begin the trial of a bundle that `sound` will be asked for, if it needs one."""
        with contextlib.suppress(BundleError, BundleRecordError, OSError):  # `sound` will say it
            identity = bundle_id(path)
            if self._begun is None and self._unknown(identity):
                self._begun = Trial(path, identity).start()

    def sound(self, path: Path, why_stop: Callable[[], str] = lambda: "") -> Bundle:
        """The bundle, verified, after its trial. `why_stop` is asked while that goes on.

        Raises:
            BundleError: it must not run.
            TrialStopped: `why_stop` gave a reason.
            BundleRecordError: what is known of bundles cannot be read.
        """
        identity = bundle_id(path)
        if self._unknown(identity):
            self._try(path, identity, why_stop)
        return self.read(path, identity)

    def read(self, path: Path, expected_id: str | None = None) -> Bundle:
        """The bundle, verified but not tried: for what is known of it before it may run.

        Raises `BundleError`, also where it must not run, and `BundleRecordError`.
        """
        bundle = read_bundle(path, expected_id)
        bad = self.record.why_bad(bundle.id)
        if bad is not None:
            raise BundleError(bad)
        return bundle

    def note(self, verdict: Verdict) -> None:
        """Remember what came of a trial, whoever held it."""
        if verdict.genuine:
            self.record.tried(verdict.bundle_id, verdict.refused, final=verdict.final)

    def close(self) -> None:
        """End a trial that nobody waited for. Safe to call twice."""
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def _unknown(self, identity: str) -> bool:
        return self.record.why_bad(identity) is None and not self.record.is_sound(identity)

    def _try(self, path: Path, identity: str, why_stop: Callable[[], str]) -> None:
        if self._begun is None or self._begun.bundle_id != identity:
            self.close()
            log.info("bundle %s is tried in a process of its own", identity[:12])
            try:
                self._begun = Trial(path, identity).start()
            except OSError as error:
                raise BundleError(f"its trial cannot begin: {error}") from error
        try:
            verdict = self._begun.wait(why_stop)
        finally:
            self.close()
        self.note(verdict)
        if verdict.refused:
            raise BundleError(verdict.refused)
