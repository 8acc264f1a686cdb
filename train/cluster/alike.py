"""Whether a machine would make the same bits of the same work: what is installed on it.

Knows packages by their metadata and imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import node

from fieldtune.errors import UserError
from fieldtune.own_files import digest

LIBRARIES = ("mujoco", "numba", "numpy", "robosuite", "torch")  # whose versions decide the bits
FILES = "fieldtune's files"


class NotAlike(UserError):
    """A machine cannot take part. The message names it, what differs and the cure."""


@cache
def installed() -> dict[str, str]:
    """What decides the bits on this machine: versions by package, and a digest of our files.

    A build for another device (`2.11.0+cu128`) is the same version.
    """
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library).partition("+")[0]
        except PackageNotFoundError:
            found[library] = "missing"
    return found | {FILES: digest()}


def require_alike(expected: Mapping[str, str], shared: Mapping[str, str]) -> None:
    """Check this machine, for another that asks.

    Args:
        expected: what is `installed` on the one that asks.
        shared: texts by the paths of files that should be seen here too.

    Raises:
        NotAlike: something differs, or a file is not seen.
    """
    for name, wanted in expected.items():
        here = installed().get(name, "missing")
        if here != wanted:
            raise NotAlike(
                f"{name} is {here} on {node()}, and {wanted} where the command runs: results would "
                "differ; install the same version of everything on both, from constraints.txt"
            )
    for path, text in shared.items():
        try:
            seen = Path(path).read_text() == text
        except OSError:
            seen = False
        if not seen:
            raise NotAlike(
                f"{Path(path).parent} is not the same folder on {node()} as where the command "
                "runs: share it, at the same path, and let this user read and write there"
            )
