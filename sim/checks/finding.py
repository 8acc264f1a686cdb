"""A check, what came of it, and how checks that build on one another are run.

Knows no check.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from fieldtune.errors import UserError
from fieldtune.sim.family import LabelsAlone

State = Literal["ok", "failed", "not checked"]
SubjectT = TypeVar("SubjectT")


class Wrong(Exception):
    """A promise that is not kept. The message says what was found and the cure."""


@dataclass(frozen=True)
class Finding:
    """What one check found; `text` says what was seen, what is wrong with its cure, or why nothing
    was looked at."""

    name: str
    state: State
    text: str


@dataclass(frozen=True)
class Check(Generic[SubjectT]):
    """A check by its name; it says what it saw, or raises.

    `needs` names those without which it means nothing.
    """

    name: str
    look: Callable[[SubjectT], str]
    needs: tuple[str, ...] = ()


def run(checks: Sequence[Check[SubjectT]], subject: SubjectT) -> Iterator[Finding]:
    """What each check finds, in order. Nothing that one raises ends the others."""
    sound: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name not in sound]
        if missing:
            yield Finding(check.name, "not checked", f"needs {missing[0]!r} to be ok")
            continue
        try:
            seen = check.look(subject)
        except LabelsAlone as error:
            yield Finding(check.name, "not checked", str(error))
        except (Wrong, UserError) as error:
            yield Finding(check.name, "failed", str(error))
        except Exception as error:  # the family's own mistakes, of any kind
            yield Finding(check.name, "failed", _said(error))
        else:
            sound.add(check.name)
            yield Finding(check.name, "ok", seen)


def _said(error: Exception) -> str:
    """An exception with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {error}"
