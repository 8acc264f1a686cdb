"""The commands that pages hold: fenced lines, and what stands between backticks, as words.

Knows Markdown and the shell as far as the pages use them; not what any program takes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SHELLS = ("", "bash", "sh", "console")
OURS = ("fieldtune", "fieldtune-robot", "make")
_FOLDERS = ("benchmarks", "scripts", "servers")
# Between backticks, but said by a program or the first line of a file.
NO_COMMANDS = (
    "fieldtune is not installed for python3",
    "fieldtune allowed robots 1",
    "fieldtune secret key 1",
)
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(…|\.\.\.)?|.*(…|\.\.\.)|KEY=VALUE|.*=[A-Z]+(_[A-Z]+)+")


@dataclass(frozen=True)
class Line:
    """One command of a page.

    Attributes:
        page: its path.
        number: of the page's line where it begins.
        words: the program first, without its folder; `python -m NAME` and `python NAME.py` have
            the module, `benchmarks.trial`, in its place.
        fenced: a whole command of a code block; between backticks some of it may be left out.
    """

    page: Path
    number: int
    words: tuple[str, ...]
    fenced: bool

    @property
    def open(self) -> bool:
        """Whether a word of it is a placeholder."""
        return any(map(is_placeholder, self.words))

    def __str__(self) -> str:
        return f"{self.page.name}:{self.number}: {shlex.join(self.words)}"


def is_placeholder(word: str) -> bool:
    """Whether a reader puts something else in its place, as in that of RUN or `...`."""
    return _PLACEHOLDER.fullmatch(word) is not None


def lines(page: Path, text: str) -> Iterator[Line]:
    """Every command of ours in a page's text. Raises `ValueError` for a line that no shell reads.

    Blocks that do not say what they are may hold anything: there, and between backticks, such a
    line is none.
    """
    language, pending, began = None, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            language, pending = (fence[1] if language is None else None), ""
        elif language is None:
            for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", line):
                if span not in NO_COMMANDS:
                    with suppress(ValueError):
                        found = list(_commands(span))
                        yield from (Line(page, number, one, False) for one in found)
        elif language in SHELLS:
            began = began if pending else number
            pending += line.removesuffix("\\")
            if not line.endswith("\\"):
                try:
                    found = list(_commands(pending))
                except ValueError as error:
                    if language:
                        raise ValueError(f"{page.name}:{began}: {pending}: {error}") from None
                    found = []
                yield from (Line(page, began, one, True) for one in found)
                pending = ""


def _commands(text: str) -> Iterator[tuple[str, ...]]:
    """What one line of a shell runs of ours, each of a pipe or list by itself."""
    reader = shlex.shlex(text, posix=True, punctuation_chars="&|;()")
    reader.whitespace_split = True
    command: list[str] = []
    for word in [*reader, ";"]:
        if set(word) <= set("&|;()"):
            if found := _ours(command):
                yield found
            command = []
        else:
            command.append(word)


def _ours(words: list[str]) -> tuple[str, ...] | None:
    """A command without what stands before its program; None of another program."""
    while words and (words[0] in ("sudo", "nice", "-u", "-n", "$") or re.match(r"\w+=", words[0])):
        words = words[2 if words[0] in ("-u", "-n") else 1 :]
    if words[:2] == ["docker", "run"]:
        words = words[next((n for n, word in enumerate(words) if "/bin/" in word), len(words)) :]
    if not words:
        return None
    program, *rest = Path(words[0]).name, *words[1:]
    if program in OURS:
        return program, *rest
    if re.fullmatch(r"python3?", program) and rest:
        if rest[0] == "-m" and len(rest) > 1:
            module, rest = rest[1], rest[2:]
        else:
            module, rest = rest[0].removesuffix(".py").replace("/", "."), rest[1:]
        if module.startswith("serve_"):
            module = f"servers.{module}"
        if module.split(".")[0] in _FOLDERS:
            return module, *rest
    return None
