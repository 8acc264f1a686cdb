"""docs/faults.md names a test for each mended fault: every one exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(test_\w+\.py)?(?:::(test_\w+))?(?: \(all\))?`")


def test_every_test_that_the_page_names_is_there():
    sources: dict[str, str] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        sources[file.name] = sources.get(file.name, "") + file.read_text()
    missing, found, last = [], 0, ""
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines():
        for file, test in NAMED.findall(line.rpartition(" | ")[2]):
            last = file or last
            found += bool(file or test)
            if last not in sources or (test and f"def {test}(" not in sources[last]):
                missing.append(f"{last}::{test}")
    assert not missing
    assert found > 100
