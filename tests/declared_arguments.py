"""The arguments of the checkout's own programs, `python -m benchmarks.trial` and the like, as their
source declares them: read, never imported or run.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
SHARED = {  # modules that make the parser of those who import them
    "benchmarks.alone": ROOT / "benchmarks" / "alone.py",
    "hardware_server": ROOT / "servers" / "hardware_server.py",
}
_TYPES = {"int": int, "float": float}
_LITERAL = ("action", "nargs", "choices", "required")

Argument = tuple[tuple[str, ...], dict[str, Any]]


class Refused(Exception):
    """Words that a program would not take, or a program that is not there."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(message)


def parse(module: str, words: Sequence[str]) -> argparse.Namespace:
    """The words as the program's parser reads them; nothing of one that reads them by itself.

    Raises:
        Refused: there is no such program, or it does not take them.
    """
    file = _source(module)
    if "sys.argv" in file.read_text():
        return argparse.Namespace()
    parser = _Parser(prog=module)
    for names, keywords in declared(file):
        parser.add_argument(*names, **keywords)
    return parser.parse_intermixed_args(words)


def names(module: str) -> set[str]:
    """Every option's names, `--seeds`, and every positional's. Raises `Refused` as `parse`."""
    return {name for names, _ in declared(_source(module)) for name in names}


def _source(module: str) -> Path:
    place = ROOT / module.replace(".", "/")
    for file in (place.with_suffix(".py"), place / "__main__.py"):
        if file.is_file() and '__name__ == "__main__"' in file.read_text():
            return file
    raise Refused(f"there is no program {module}")


@cache
def declared(file: Path) -> tuple[Argument, ...]:
    """Names and keywords of each `add_argument` in a file, and in a shared one that it imports."""
    found: list[Argument] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in SHARED:
            if {"main", "parser"} & {one.name for one in node.names}:
                found += declared(SHARED[node.module])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            names = tuple(str(ast.literal_eval(one)) for one in node.args)
            found.append((names, dict(_keywords(node))))
    return tuple(found)


def _keywords(call: ast.Call) -> Iterator[tuple[str, Any]]:
    """Those that are literals; a file's own converters and lists would have to be run."""
    for one in call.keywords:
        if one.arg in _LITERAL and not isinstance(one.value, ast.Name | ast.Call):
            yield one.arg, ast.literal_eval(one.value)
        elif one.arg == "type" and isinstance(one.value, ast.Name) and one.value.id in _TYPES:
            yield "type", _TYPES[one.value.id]
