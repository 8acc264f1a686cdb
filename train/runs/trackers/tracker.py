"""The contract of a tracker, ours and a stranger's, and the look-up of those that a run asks for.

Knows no tool. A package offers a tracker by the entry point group `fieldtune.trackers`: a class
that is called with a `Tracked` (docs/tracking.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.files import write_atomically

GROUP: Final = "fieldtune.trackers"
_REMEMBERED = "tracking"


class TrackerError(UserError):
    """Curves cannot go where a run asks for. The message says what to install or to set."""


@dataclass(frozen=True)
class Tracked:
    """What the curves are of.

    Attributes:
        folder: the run's.
        phase: `offline`, `self-supervised` …, as its checkpoint is called.
        done: updates that it goes on from; 0 of a phase that begins.
        config: the run's whole configuration, as JSON would have it.
    """

    folder: Path
    phase: str
    done: int = 0
    config: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """For people: the folder and the phase."""
        return f"{self.folder.absolute().name} {self.phase}"

    def remembered(self, tool: str) -> str | None:
        """The id that `remember` kept of this phase, where it goes on; None where it begins."""
        kept = self._place(tool)
        return kept.read_text(encoding="utf-8").strip() if self.done and kept.exists() else None

    def remember(self, tool: str, identity: str) -> None:
        """Keep the id that `tool` knows this phase by, so that it goes on where it stopped."""
        kept = self._place(tool)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, f"{identity}\n".encode())

    def _place(self, tool: str) -> Path:
        return self.folder / _REMEMBERED / f"{self.phase}.{tool}"


class Tracker(Protocol):
    """Takes the points of one phase's curves. What it raises leaves a gap in them, and a warning;
    learning goes on."""

    def add(self, update: int, values: Mapping[str, float]) -> None:
        """One point of each curve: the means over the updates since the last one."""
        ...

    def close(self) -> None:
        """No more points come; those that came are to be kept."""
        ...


def require_trackers(names: Sequence[str]) -> None:
    """Raise `TrackerError` unless each of these can be used here; imports no tool."""
    for name in names:
        factory = _factory(name)
        library = getattr(factory, "library", None)
        if library is not None and find_spec(library) is None:
            raise TrackerError(
                f"tracker is {name!r}, whose package {library} is not installed: "
                f'pip install "fieldtune[{name}]", or set another tracker'
            )


def make_trackers(names: Sequence[str], tracked: Tracked) -> dict[str, Tracker]:
    """Each tracker by its name, open.

    Raises:
        TrackerError: one of them cannot be opened; those before it are closed again.
    """
    require_trackers(names)
    made: dict[str, Tracker] = {}
    for name in names:
        try:
            made[name] = _factory(name)(tracked)
        except Exception as error:  # of whatever kind the tool has
            for opened in made.values():
                opened.close()
            if isinstance(error, UserError):
                raise
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise TrackerError(
                f"tracker {name!r} cannot be opened: {first}: see to that, or set another tracker"
            ) from error
    return made


def _factory(name: str) -> Callable[[Tracked], Tracker]:
    factory: Callable[[Tracked], Tracker] = plugins.load(GROUP, name)
    return factory
