"""What mkdocs does beyond mkdocs.yml: adds the generated pages, and names files outside of docs/.

A page may link to a file of the repository, which the site does not hold: there the link becomes
its words with the file's name. One to a file that is not there stays, and fails a strict build.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

from scripts.reference import pages

ROOT = Path(__file__).parents[1]
_NAMED = re.compile(r"^( *```\w+) ([\w./-]+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s#]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the reference, made anew at each build: nothing of it lies in the tree."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that leave docs/ into words, and the name of a block of code into its title."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent

    def words(found: re.Match[str]) -> str:
        path = normpath(f"{folder}/{found[2]}")
        inside = path.startswith("docs/") or not (ROOT / path).exists()
        return found[0] if inside else f"{found[1]} (`{path}`)"

    return _NAMED.sub(r'\1 title="\2"', _LINK.sub(words, markdown))
