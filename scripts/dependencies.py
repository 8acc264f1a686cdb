"""What an installation of fieldtune brings: pyproject.toml's requirements, followed from package to
package by the metadata of an environment that has more.

Must not import fieldtune, nor what it lists: it runs in an environment of its own, which
scripts/dist.sh makes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras: str) -> list[Requirement]:
    """Of `fieldtune[extras]`, as pyproject.toml has them."""
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


def installed_in(environment: Path) -> dict[str, Distribution]:
    """The distributions of a virtual environment, by canonical name."""
    (libraries,) = environment.glob("lib/python*/site-packages")
    found = distributions(path=[str(libraries)])
    return {canonicalize_name(one.metadata["Name"]): one for one in found}


def brought_by(wanted: Iterable[Requirement], installed: Mapping[str, Distribution]) -> set[str]:
    """Canonical names of what `wanted` needs, itself included, on this Python and system.

    Raises:
        LookupError: one of them is not installed.
    """
    names: set[str] = set()
    left = [(requirement, "") for requirement in wanted]
    followed: set[tuple[str, str]] = set()
    while left:
        requirement, asked_by = left.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": asked_by}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in installed:
            raise LookupError(f"{requirement} is not installed there: run make, which installs it")
        names.add(name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in followed:
                followed.add((name, extra))
                needs = installed[name].requires or []
                left += [(Requirement(line), extra) for line in needs]
    return names
