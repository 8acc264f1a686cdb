"""What a proof leaves behind: Markdown tables, what it was run on, and a verdict.

Knows text only; not what is proven.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.machine import machine, versions

T = TypeVar("T")
_SHOWN = 20


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def remember(path: Path, line: Any) -> None:
    """Append a dataclass to what has been done, so that the next start goes on after it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def remembered(path: Path, kind: type[T]) -> list[T]:
    """What `remember` has written there; a line cut by a kill is left out."""
    return list(_lines(path, kind))


def conclude(tables: Sequence[str], problems: Sequence[str]) -> None:
    """Print all of it; ends the process with status 1 where an invariant is broken."""
    print("\n\n".join(tables))
    facts = machine()
    print(f"\n{facts['processor']}; {facts['system']}; commit {facts['commit']}; ", end="")
    print(f"{facts['load before the start'].split(';')[0]} processes were running at the end")
    print("versions: " + ", ".join(f"{name} {value}" for name, value in versions().items()))
    for problem in problems[:_SHOWN]:
        print(f"BROKEN: {problem}", file=sys.stderr)
    if problems:
        sys.exit(f"{len(problems)} invariants are broken")
    print("every invariant holds")


def _lines(path: Path, kind: type[T]) -> Iterator[T]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield kind(**json.loads(line))
        except json.JSONDecodeError:
            continue
