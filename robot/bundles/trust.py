"""Which bundles this robot has come to trust, and which it will not run again.

Holds one small JSON file in the state folder. It must not know what a fault is, nor how a trial
goes.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import msgspec

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.regular_file import read_regular

log = logging.getLogger(__name__)

MOST_LATE = 2  # trials without an end, after which a bundle is not tried again by itself
_KEPT = 100

_Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class BundleRecordError(UserError):
    """The record cannot be read. The message names the file and the cure."""


class _Tried(msgspec.Struct, forbid_unknown_fields=True):
    """A trial's verdict, good for as long as the robot's software is `by`.

    `refused` is why it must not run, empty where it may. `late` counts trials that came to no end.
    """

    by: str
    refused: str = ""
    late: int = 0


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    proven: list[_Id] = msgspec.field(default_factory=list)
    bad: dict[_Id, str] = msgspec.field(default_factory=dict)
    tried: dict[_Id, _Tried] = msgspec.field(default_factory=dict)


class BundleRecord:
    """A bundle is tried once by each version of the robot's `software`, and then on probation until
    it has run `probation` episodes without a fault.

    A fault before that marks it as bad, for good, where the robot has a proven one to go back to.
    """

    def __init__(self, path: Path, probation: int, software: str = "") -> None:
        """Raises `BundleRecordError`."""
        self.path = Path(path)
        self._probation = probation
        self._software = software
        self._passed: dict[str, int] = {}
        self._late: set[str] = set()
        self._record = _read(self.path)

    def why_bad(self, bundle_id: str) -> str | None:
        """Why this bundle must not run; None where it may, or has to be tried first."""
        reason = self._record.bad.get(bundle_id)
        if reason is not None:
            return (
                f"it faulted in its first episodes on this robot ({reason}): export another; to "
                f"try this one again, delete it from `bad` in {self.path}"
            )
        tried = self._tried(bundle_id)
        if tried is None or not tried.refused:
            return None
        if 0 < tried.late < MOST_LATE and bundle_id not in self._late:
            return None
        return (
            f"its trial on this robot refused it ({tried.refused}): export another; to try this "
            f"one again, delete it from `tried` in {self.path}"
        )

    def is_sound(self, bundle_id: str) -> bool:
        """Whether this software has tried it and found nothing."""
        tried = self._tried(bundle_id)
        return tried is not None and not tried.refused

    @property
    def newest_proven(self) -> str | None:
        """The bundle to go back to, if there is one yet."""
        return self._record.proven[-1] if self._record.proven else None

    def tried(self, bundle_id: str, refused: str, *, final: bool = True) -> None:
        """Remember what a trial of a bundle came to.

        Args:
            bundle_id: which one.
            refused: why it must not run, empty where it may.
            final: whether that stands. Otherwise the bundle is tried again in the next life of this
                process, up to `MOST_LATE` times in all.
        """
        before = self._tried(bundle_id)
        late = 0
        if refused and not final:
            late = 1 + (before.late if before is not None else 0)
            self._late.add(bundle_id)
        record = dict(self._record.tried)
        record.pop(bundle_id, None)
        record[bundle_id] = _Tried(self._software, refused, late)
        self._record.tried = dict(list(record.items())[-_KEPT:])
        self._write()

    def passed(self, bundle_id: str) -> None:
        """It ran an episode to its end, without a fault."""
        if bundle_id in self._record.proven:
            return
        self._passed[bundle_id] = self._passed.get(bundle_id, 0) + 1
        if self._passed[bundle_id] >= self._probation:
            self._record.proven = [*self._record.proven, bundle_id][-_KEPT:]
            self._write()

    def faulted(self, bundle_id: str, reason: str) -> bool:
        """The robot faulted while it ran. Returns whether it is marked as bad."""
        proven = self._record.proven
        if bundle_id in proven or not proven:
            return False
        log.error("bundle %s is marked as bad and will not run again: %s", bundle_id, reason)
        self._record.bad[bundle_id] = reason
        self._write()
        return True

    def _tried(self, bundle_id: str) -> _Tried | None:
        tried = self._record.tried.get(bundle_id)
        return tried if tried is not None and tried.by == self._software else None

    def _write(self) -> None:
        text = json.dumps(msgspec.to_builtins(self._record), indent=1) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, text.encode())
        except OSError as error:
            log.error(
                "%s: cannot be written, so this is forgotten at the end: %s", self.path, error
            )


def _read(path: Path) -> _Record:
    try:
        return msgspec.json.decode(read_regular(path), type=_Record)
    except FileNotFoundError:
        return _Record()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRecordError(
            f"{path}: cannot be read: {error}: mend it, or delete it to forget bad bundles"
        ) from error
