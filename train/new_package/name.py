"""The name of a new package: what it may be, and what follows from it.

Knows Python's and fieldtune's names; no files.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword

from fieldtune import plugins
from fieldtune.errors import UserError

LONGEST = 40
_FORM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_GROUPS: tuple[plugins.Group, ...] = ("fieldtune.families", "fieldtune.drivers")
_TAKEN = frozenset({"fieldtune", "tests", "robot", "sim", "train", "export"})


class BadName(UserError):
    """A name that no package may have. The message says why, and what may be."""


@dataclass(frozen=True)
class PackageName:
    """`my-arm`: the package and its entry points. Raises `BadName`."""

    name: str

    def __post_init__(self) -> None:
        shown = f"NAME is {self.name[:80]!r}"
        if not _FORM.fullmatch(self.name) or len(self.name) > LONGEST:
            raise BadName(
                f"{shown}: expected lower-case letters, digits and single hyphens, a letter first, "
                f"at most {LONGEST}, e.g. my-arm"
            )
        if iskeyword(self.module) or self.module in sys.stdlib_module_names | _TAKEN:
            raise BadName(f"{shown}: Python or fieldtune has a module of that name; choose another")
        for group in _GROUPS:
            if plugins.is_known(group, self.name):
                kind = plugins.KINDS[group]
                raise BadName(f"{shown}: there is a {kind} of that name already; choose another")
        if find_spec(self.module) is not None:
            raise BadName(
                f"{shown}: a module {self.module!r} can be imported here already; choose another"
            )

    @property
    def module(self) -> str:
        """`my_arm`"""
        return self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        """`MyArm`: of the family; the driver's is `MyArmDriver`."""
        return "".join(word.capitalize() for word in self.name.split("-"))
