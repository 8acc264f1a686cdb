"""What `python -m benchmarks.NAME` does: one benchmark in the environment that a user gets.

The launcher's environment (`fieldtune.train.launch`) holds for all of them; a benchmark that needs
another, for the other side, starts a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.figures import Table
from benchmarks.page import plain
from benchmarks.turns import Effort
from fieldtune.train.launch import settle

Benchmark = Callable[[Effort], Iterator[Table]]


def main(measure: Benchmark, purpose: str) -> None:
    """Run one benchmark; print its tables, and write them where `--json` says."""
    settle()
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--quick", action="store_true", help="seconds, and numbers of no meaning")
    parser.add_argument("--json", type=Path, help="write the tables there too")
    given = parser.parse_args()
    tables = []
    for table in measure(Effort(given.quick)):
        print(plain(table), flush=True)
        tables.append(table)
    if given.json is not None:
        given.json.write_bytes(msgspec.json.encode(tables))
