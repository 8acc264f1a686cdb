"""What `doctor` says of a machine: what was found, and the cure beside what is amiss.

Holds findings and how they are printed. Must not know what is looked at (`fieldtune.machine`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fieldtune.exit_status import DONE, MISTAKE


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `cure` is empty where nothing is amiss.

    `needed`: without the cure, the program cannot do its work. Else it works, less well.
    """

    subject: str
    found: str
    cure: str = ""
    needed: bool = True

    @property
    def state(self) -> str:
        """`ok`, `note` or `mend`."""
        if not self.cure:
            return "ok"
        return "mend" if self.needed else "note"


_COLOURS = {"ok": "green", "note": "yellow", "mend": "bold red"}


def tell_findings(findings: Iterable[Finding]) -> int:
    """Print each finding as soon as it is there, its cure below; returns the exit status.

    Returns:
        `MISTAKE` where something has to be mended, else `DONE`.
    """
    from rich.console import Console
    from rich.text import Text

    console, states = Console(highlight=False), []
    for finding in findings:
        states.append(finding.state)
        console.print(
            Text.assemble(
                (f"{finding.state:<6}", _COLOURS[finding.state]),
                f"{finding.subject:<16}{finding.found}",
            ),
            soft_wrap=True,
        )
        if finding.cure:
            console.print(Text(f"{'':<22}→ {finding.cure}"), soft_wrap=True)
    mend, note = states.count("mend"), states.count("note")
    console.print(f"{len(states)} looked at: {mend} to mend, {note} to note", soft_wrap=True)
    return MISTAKE if mend else DONE
