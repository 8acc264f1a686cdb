"""All checks of a family, in order."""

from __future__ import annotations

from collections.abc import Iterator

from fieldtune.sim.checks import described, moves, rewards
from fieldtune.sim.checks.finding import Check, Finding, Wrong, run
from fieldtune.sim.checks.recorded import Probe
from fieldtune.sim.family import TaskFamily


def check_family(family: TaskFamily, name: str | None = None) -> Iterator[Finding]:
    """What is found, check by check, while they run.

    Args:
        name: by which the family was asked for; its own where not given.
    """

    def named(probe: Probe) -> str:
        own = probe.family.name
        if own != (name or own):
            raise Wrong(
                f"name is {own!r}, its entry point's is {name!r}: data and bundles would "
                "be of another family; give both the same"
            )
        if not probe.family.robot:
            raise Wrong("robot is empty: name its model, as the real robot's driver does")
        return f"{own}, robot {probe.family.robot}"

    first = Check("name", named)
    yield from run((first, *described.CHECKS, *moves.CHECKS, *rewards.CHECKS), Probe(family))
