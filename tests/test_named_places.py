"""Modules and files that docs, docstrings and comments name are there: no sign to an old place."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HALVES = ("robot", "train", "sim", "export")
MODULE = re.compile(rf"\bfieldtune\.(?:{'|'.join(HALVES)})(?:\.\w+)+")
END = re.compile(r"(?<![\w/.:-])(?:\w+/)+\w+\.(?:py|sh)\b")
FILE = re.compile(
    rf"(?<![\w/.-])(?:{'|'.join(HALVES)}|tests|benchmarks|scripts)/[\w/]+\.(?:py|sh)\b"
)


def texts() -> Iterator[tuple[str, int, str]]:
    """Each line of what is committed and written by hand; the changelog may name what was."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.yaml", "*.toml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if name != "CHANGELOG.md" and path.is_file():
            for number, line in enumerate(path.read_text().splitlines(), 1):
                yield name, number, line


def tracked() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.splitlines())


def is_there(name: str) -> bool:
    """Whether `fieldtune.room.module.Name` is a module, or a name that stands in one."""
    parts = name.split(".")[1:]
    for depth in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:depth])
        rest = parts[depth:]
        if place.is_dir():
            return not rest
        if place.with_suffix(".py").is_file():
            return not rest or bool(
                re.search(rf"\b{rest[0]}\b", place.with_suffix(".py").read_text())
            )
    return False


def test_every_module_that_is_named_is_there():
    missing = [
        f"{name}:{number} names {found}"
        for name, number, line in texts()
        for found in MODULE.findall(line)
        if not is_there(found)
    ]
    assert not missing, "\n".join(missing)


def test_every_file_that_is_named_is_there():
    missing = [
        f"{name}:{number} names {found}"
        for name, number, line in texts()
        for found in FILE.findall(line)
        if not (ROOT / found).is_file() and not (ROOT / "tests" / found).is_file()
    ]
    assert not missing, "\n".join(missing)


def test_every_end_of_a_path_that_a_page_names_is_there():
    """`loop/control_loop.py` says enough to who reads of `robot/`."""
    ends = {
        "/".join(parts[start:])
        for parts in (path.split("/") for path in tracked())
        for start in range(len(parts))
    }
    missing = [
        f"{name}:{number} names {found}"
        for name, number, line in texts()
        if name.endswith(".md")
        for found in END.findall(line)
        if found not in ends
    ]
    assert not missing, "\n".join(missing)
