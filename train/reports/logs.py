"""The report of a run without a simulator: what its held-out logs say, as a page and as JSON.

Measures nothing. What cannot be known from logs stands on the page.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.train.charts import number, percent
from fieldtune.train.evaluation.logs import LogsEvaluation, LogsPhase
from fieldtune.train.evaluation.statistics import Estimate, mean
from fieldtune.train.runs.run import Run

UNKNOWN = (
    "What the policy earns is not known: nothing acted here, and agreement with recorded actions "
    "is no return. z was inferred from recorded episodes, not from the policy's own exploration, "
    "which may tell less. Both show on the robot alone."
)
PHASES = {"before": "phase 1, offline", "after": "phase 2, self-supervised"}
FILES = ("logs.json", "report.html")


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, its mean over tasks with its interval, and what it
    is to be held against."""

    name: str
    value: str
    against: str
    meaning: str


def require_logs_report_writable(folder: Path) -> None:
    """Raise `OSError` where `write_logs_report` could not write."""
    for name in FILES:
        require_writable(folder / name)


def write_logs_report(run: Run, evaluation: LogsEvaluation) -> Path:
    """Write `logs.json` and `report.html` into the run's folder; return the page's path."""
    found = json.dumps(asdict(evaluation), indent=1, allow_nan=False)
    write_atomically(run.folder / "logs.json", f"{found}\n".encode())
    environment = Environment(
        loader=PackageLoader("fieldtune.train"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("logs.html").render(
        evaluation=evaluation,
        phases=[
            (PHASES[name], phase, rows(phase), _ranks(phase))
            for name, phase in evaluation.phases.items()
        ],
        unknown=UNKNOWN,
        tasks=len(run.dataset.test_tasks),
    )
    path = run.folder / "report.html"
    write_atomically(path, page.encode())
    return path


def rows(phase: LogsPhase) -> list[Row]:
    """The table of one phase."""
    gain = mean([a - b for a, b in zip(phase.likelihood, phase.by_mean, strict=True)])
    closer = mean([b - a for a, b in zip(phase.own_error, phase.other_error, strict=True)])
    last = phase.ranks[-1]
    tasks = len(last)
    return [
        Row(
            "rewards explained",
            f"{_shown(gain)} nats a reward",
            "0: the training rewards' mean and spread",
            "the decoder's log-likelihood, with z of the task's other episodes, above theirs",
        ),
        Row(
            f"rank of the own task after {len(phase.ranks)}",
            _shown(mean(last)),
            f"{number((tasks + 1) / 2)} of {tasks} by chance",
            f"1 is right; {percent(sum(one == 1 for one in last) / tasks)} of tasks are",
        ),
        Row(
            "action error",
            _shown(mean(phase.own_error)),
            f"{number(float(mean(phase.other_error).value))} with other tasks' z",
            "of the policy's mean action on the better episodes, in half ranges of an action",
        ),
        Row(
            "closer than with other tasks' z",
            _shown(closer),
            "0: the policy does not heed z",
            "the difference of those two",
        ),
    ]


def _ranks(phase: LogsPhase) -> list[tuple[int, str, str]]:
    """By episodes seen: how many, the mean rank, the share of tasks that come first."""
    return [
        (
            seen,
            _shown(mean(ranks)),
            percent(sum(one == 1 for one in ranks) / len(ranks)),
        )
        for seen, ranks in enumerate(phase.ranks, 1)
    ]


def _shown(found: Estimate) -> str:
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"
