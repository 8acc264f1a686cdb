"""A study's page: `README.md` with its table, beside its figures and `metrics.json`.

Assembles; measures nothing. Numbers come from `fieldtune.train.study.summary` alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.train.charts import number, percent, to_png
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.evaluation.statistics import LEVEL
from fieldtune.train.study import figures
from fieldtune.train.study.plan import PHASE_2, Method, Study
from fieldtune.train.study.summary import (
    Curve,
    Estimate,
    Results,
    Row,
    curve,
    load_results,
    rows,
    shifts,
)

FIGURES = ("returns.png", "shift.png")
SPARSE_FIGURES = ("success.png", "calibration.png")  # of families that have success
SHIFT_NAMES: dict[Method, str] = {
    "offline": "before phase 2",
    "frozen": "after, encoder frozen",
    "trained": "after, encoder trained",
    "oracle": "oracle",
}


def require_page_writable(folder: Path) -> None:
    """Raise `OSError` where `write_page` could not write, before the study's days of work."""
    for name in (*FIGURES, *SPARSE_FIGURES, "README.md", "metrics.json"):
        require_writable(folder / name)


def write_page(folder: Path, study: Study, command: str) -> list[Row]:
    """Write README.md, metrics.json and the figures into the study's folder; return the table.

    Args:
        command: what a reader types to get the same.
    """
    results = load_results(folder, study.seeds)
    table = rows(results)
    curves: dict[Method, Curve] = {method: curve(results, method) for method in PHASE_2}
    random = results["offline"][0].random
    if random is None:
        raise EvaluationError(f"{folder}: seed 0's phase 1 says nothing of random actions")
    drawn = [figures.returns_by_steps(results, random), figures.posterior_shift(results)]
    judged = _judged(results)
    names = [*FIGURES, *(SPARSE_FIGURES if judged else ())]
    if judged:
        drawn += [figures.success_by_steps(results), figures.reliability(judged)]
    for name, figure in zip(names, drawn, strict=True):
        write_atomically(folder / name, to_png(figure, figures.DPI))
    write_atomically(folder / "README.md", _page(study, results, table, curves, command).encode())
    metrics = {
        "family": study.config.family,
        "seeds": study.seeds,
        "rows": [asdict(row) for row in table],
        "curves": {method: asdict(found) for method, found in curves.items()},
        "shift": shifts(results),
        "random": random,
        "decoder": [None if r.decoder is None else asdict(r.decoder) for r in results["offline"]],
    }
    write_atomically(
        folder / "metrics.json", (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode()
    )
    return table


def _page(
    study: Study, results: Results, table: Sequence[Row], curves: dict[Method, Curve], command: str
) -> str:
    first = results["offline"][0]
    tasks, repeats = len(first.final.offline_returns), len(first.final.offline_returns[0])
    episodes = len(first.final.curve) - 1
    random = first.random
    decoders = [r.decoder.explained for r in results["offline"] if r.decoder is not None]
    judged = _judged(results)
    seeds = f"{study.seeds} seed{'s' if study.seeds > 1 else ''}"
    lines = [
        f"# Study of {study.config.family}",
        "",
        "```bash",
        command,
        "```",
        "",
        f"{seeds}; {tasks} held-out tasks, {repeats} repeats each; {episodes} episodes of own "
        "exploration with true rewards, then the one that counts. Interquartile mean over (seed, "
        f"task) with its {percent(LEVEL)} bootstrap interval.",
        "",
        "| context and method | return, IQM | mean by seed | gap closed |"
        + (" success | by seed |" if judged else ""),
        "|---|---|---|---|" + ("---|---|" if judged else ""),
        *(_line(row) for row in table),
        f"| random actions | {'–' if random is None else number(random)} | | |"
        + (" | |" if judged else ""),
        "",
        "*Gap closed* is (after − before) / (oracle − before) of the means, where true "
        "rewards gain anything. All methods learn from the same dataset; seeds differ in initial "
        "weights, draws and exploration.",
        "",
        f"![Return by reward-free steps]({FIGURES[0]})",
        "",
        *(_success(curves) if judged else []),
        "## By reward-free steps",
        "",
        "| steps | " + " | ".join(figures.DRAWN[m][0] for m in PHASE_2) + " |",
        "|---|" + "---|" * len(PHASE_2),
        *_steps(curves),
        "",
        "Each cell: IQM of the return, and the share of the gap that was closed.",
        "",
        "## Why: the posterior before and after",
        "",
        f"![Posterior means]({FIGURES[1]})",
        "",
        "Distance between a task's contexts from own exploration and from offline data, in spreads "
        "of tasks: "
        + "; ".join(
            f"{SHIFT_NAMES[m]} {s:.2f}" for m, s in shifts(results).items() if m in SHIFT_NAMES
        )
        + ". The decoder explains "
        + ", ".join(percent(value) for value in decoders)
        + " of the variance of held-out tasks' rewards."
        + _dynamics(results),
        "",
        *(_calibration(judged) if judged else []),
        "## Cost",
        "",
        "| job | updates | CPU minutes of the attempt that finished, mean |",
        "|---|---|---|",
        *(_cost(method, results) for method in results),
        "",
        "## Settings",
        "",
        "```yaml",
        _settings(study),
        "```",
        "",
    ]
    return "\n".join(lines)


def closed(row: Row) -> str:
    """The share of the gap that a method closed, with its interval; empty for the others."""
    found = row.gap_closed
    if found is None:
        return "no gap" if row.closes else ""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")


def _line(row: Row) -> str:
    by_seed = ", ".join(number(value) for value in row.by_seed)
    line = f"| {row.name} | {_estimate(row.iqm)} | {by_seed} | {closed(row)} |"
    if row.success is None or row.success_by_seed is None:
        return line
    each = ", ".join(percent(value) for value in row.success_by_seed)
    return f"{line} {_percent(row.success)} | {each} |"


def _percent(found: Estimate) -> str:
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"


def _judged(results: Results) -> list[Calibration]:
    """Each seed's decoder as a classifier; empty where rewards are not sparse."""
    found = [r.decoder.calibration for r in results["offline"] if r.decoder is not None]
    return [each for each in found if each is not None]


def _success(curves: dict[Method, Curve]) -> list[str]:
    """Success is the state that an episode ends in; the mean over (seed, task)."""
    known = {m: c.success for m, c in curves.items() if c.success is not None}
    steps = max((c.steps for c in curves.values()), key=len)
    lines = [
        "*Success*: the state that an episode ends in, mean over (seed, task) with its interval.",
        "",
        f"![Success by reward-free steps]({SPARSE_FIGURES[0]})",
        "",
        "| steps | " + " | ".join(figures.DRAWN[m][0] for m in known) + " |",
        "|---|" + "---|" * len(known),
    ]
    for index, step in enumerate(steps):
        cells = [_percent(c[index]) if index < len(c) else "" for c in known.values()]
        lines.append(f"| {step:,.0f} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _dynamics(results: Results) -> str:
    """What z says of the body, a pair a seed; empty where dynamics do not vary."""
    found = [r.decoder.dynamics for r in results["offline"] if r.decoder is not None]
    pairs = [f"{percent(one.own)} and {percent(one.other)}" for one in found if one is not None]
    if not pairs:
        return ""
    return (
        f" Of s' − s, (s, a) explain with the body's own z and with another's: {'; '.join(pairs)}."
    )


def _calibration(judged: Sequence[Calibration]) -> list[str]:
    """The decoder as a classifier of success, on transitions of held-out tasks."""
    return [
        "## The decoder as a classifier of success",
        "",
        f"![Reliability diagram]({SPARSE_FIGURES[1]})",
        "",
        "On transitions of held-out tasks, z from another draw of the same task's data.",
        "",
        "| seed | Brier score | expected calibration error | successes found | others ruled out |",
        "|---|---|---|---|---|",
        *(
            f"| {seed} | {one.brier:.4f} | {one.expected_error:.4f} | {_or_none(one.found)} | "
            f"{_or_none(one.ruled_out)} |"
            for seed, one in enumerate(judged)
        ),
        "",
    ]


def _or_none(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _estimate(found: Estimate) -> str:
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _steps(curves: dict[Method, Curve]) -> list[str]:
    longest = max(len(found.steps) for found in curves.values())
    lines = []
    for index in range(longest):
        known = [c for c in curves.values() if index < len(c.steps)]
        cells = [
            f"{number(c.iqm[index].value)} ({_bare_share(c.gap_closed[index])})"
            if index < len(c.steps)
            else ""
            for c in curves.values()
        ]
        lines.append(f"| {known[0].steps[index]:,.0f} | " + " | ".join(cells) + " |")
    return lines


def _bare_share(found: Estimate | None) -> str:
    return "no gap" if found is None else f"{found.value:.2f}".replace("-", "−")


def _cost(method: Method, results: Results) -> str:
    found = results[method]
    minutes = sum(result.cpu_s for result in found) / len(found) / 60
    return f"| {method} | {found[0].final.updates:,} | {minutes:.1f} |"


def _settings(study: Study) -> str:
    """The configuration without the robot's section and the machine's paths."""
    settings = study.config.model_dump(mode="json", exclude={"robot": True, "data": {"path"}})
    settings["robot"] = {"exploration": study.config.robot.exploration.model_dump(mode="json")}
    return yaml.safe_dump(settings, sort_keys=False).rstrip()
