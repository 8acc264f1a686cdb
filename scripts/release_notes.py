"""What CHANGELOG.md says of a tag, for the release's page: `python -m scripts.release_notes TAG`.

Before it prints anything it holds together what names a version: the newest part of CHANGELOG.md,
CITATION.cff, pyproject.toml's fallback and the wheel in dist/. The C++ library counts its own
versions.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]
FILES = ("CHANGELOG.md", "CITATION.cff", "pyproject.toml")


@dataclass(frozen=True)
class Part:
    """One `## ` of the changelog.

    Attributes:
        version: of the release; None for what is not released yet.
        date: the release's, as 2026-11-27.
        text: what stands below.
    """

    version: str | None
    date: str | None
    text: str


def parts(changelog: str) -> list[Part]:
    """The changelog's, newest first.

    Raises:
        ValueError: a heading is neither `## Unreleased` nor `## 1.2.3 (2026-11-27)`.
    """
    _, *sections = re.split(r"^## ", changelog, flags=re.MULTILINE)
    return [_part(*section.split("\n", 1)) for section in sections]


def _part(heading: str, text: str = "") -> Part:
    if heading == "Unreleased":
        return Part(None, None, text.strip())
    found = re.fullmatch(r"(\d+\.\d+\.\d+(?:rc\d+)?) \((\d{4}-\d{2}-\d{2})\)", heading)
    if found is None:
        raise ValueError(f"CHANGELOG.md has '## {heading}': write '## 1.2.3 (2026-11-27)'")
    return Part(found[1], found[2], text.strip())


def disagreements(changelog: str, citation: str, pyproject: str) -> list[str]:
    """What the three files say of the version that does not fit; empty where all is well.

    The commit of a release has its version in all of them. Another has `Unreleased` on top, the
    last release in the citation, and as fallback a later version's `.dev0`.
    """
    newest, *_ = sections = parts(changelog)
    released = next((part for part in sections if part.version), None)
    fallback = tomllib.loads(pyproject)["tool"]["setuptools_scm"]["fallback_version"]
    said = []
    for key, expected in (
        ("version", released and released.version),
        ("date-released", released and released.date),
    ):
        found = re.search(rf"^{key}: (.*)$", citation, re.MULTILINE)
        if (found and found[1]) != expected:
            said.append(f"CITATION.cff has {key} {found and found[1]}, CHANGELOG.md {expected}")
    if newest.version is not None:
        if fallback != newest.version:
            said.append(f"pyproject.toml has fallback_version {fallback}, not {newest.version}")
    elif not fallback.endswith(".dev0"):
        said.append(f"pyproject.toml has fallback_version {fallback}, which does not end in .dev0")
    elif released and Version(fallback) <= Version(released.version or ""):
        said.append(f"pyproject.toml has fallback_version {fallback}, not after {released.version}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", help="v1.2.3")
    version = parser.parse_args().tag.removeprefix("v")
    texts = [(ROOT / name).read_text() for name in FILES]
    newest = parts(texts[0])[0]
    wrong = disagreements(*texts)
    if newest.version != version:
        wrong.append(f"CHANGELOG.md begins with {newest.version or 'Unreleased'}, not {version}")
    if not list((ROOT / "dist").glob(f"fieldtune-{version}-*.whl")):
        wrong.append(f"dist/ has no wheel of {version}: make dist, in a clean clone at the tag")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(newest.text)


if __name__ == "__main__":
    main()
