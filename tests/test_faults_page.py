"""docs/faults.md names a test for each mended fault, by its path below tests/: every one exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)?(?:::(test_\w+))?(?: \(all\))?`")


def test_every_test_that_the_page_names_is_there():
    tests = ROOT / "tests"
    sources = {
        file.relative_to(tests).as_posix(): file.read_text() for file in tests.rglob("test_*.py")
    }
    missing, found, last = [], 0, ""
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines():
        for file, test in NAMED.findall(line.rpartition(" | ")[2]):
            last = file or last
            found += bool(file or test)
            if last not in sources or (test and f"def {test}(" not in sources[last]):
                missing.append(f"{last}::{test}")
    assert not missing
    assert found > 100
