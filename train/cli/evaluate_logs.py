"""`fieldtune evaluate` of a run whose family has no simulator: its table, and its page's place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fieldtune.train.runs.run import Run


def evaluate_on_logs(opened: Run) -> Path:
    """Measure on held-out logs, print what was found and what cannot be; return the page."""
    from rich.console import Console
    from rich.table import Table

    from fieldtune.train.console import progress
    from fieldtune.train.evaluation.logs import evaluate_logs
    from fieldtune.train.reports.logs import (
        PHASES,
        UNKNOWN,
        require_logs_report_writable,
        rows,
        write_logs_report,
    )

    require_logs_report_writable(opened.folder)
    with progress("evaluating", "phases") as advance:
        evaluation = evaluate_logs(opened, advance)
    for name, phase in evaluation.phases.items():
        table = Table(PHASES[name], "found", "against")
        for row in rows(phase):
            table.add_row(row.name, row.value, row.against)
        Console().print(table)
    typer.echo(UNKNOWN)
    return write_logs_report(opened, evaluation)
