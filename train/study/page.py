"""A study's page: `README.md` with its tables, beside its figures and `metrics.json`.

Assembles; measures nothing. Numbers come from `fieldtune.train.study.summary` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.train.charts import percent, to_png
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.results import (
    AGAINST_BY_HEART,
    DecoderError,
    EvaluationError,
    Inference,
)
from fieldtune.train.evaluation.statistics import LEVEL
from fieldtune.train.runs.origin import ONLINE, TOLD
from fieldtune.train.study import tables
from fieldtune.train.study.cells import (
    Metrics,
    all_cells,
    encode_metrics,
    offline_cells,
    told_cells,
)
from fieldtune.train.study.figures import DPI
from fieldtune.train.study.methods_figure import section
from fieldtune.train.study.pictures import (
    ADAPTATION,
    CALIBRATION,
    FILES,
    FIRST,
    METHODS,
    RETURNS,
    SHIFT,
    SUCCESS,
    Curves,
    compares_algorithms,
    drawn_figures,
    judged_decoders,
)
from fieldtune.train.study.plan import Method, Study
from fieldtune.train.study.presets import smaller_than_the_authors
from fieldtune.train.study.results import JobResult, Results, ToldResult, load_results, load_told
from fieldtune.train.study.summary import (
    BOTH,
    Ceiling,
    Row,
    Worth,
    ceilings,
    curves,
    rows,
    shifts,
    table_of,
    worths,
)

SHIFT_NAMES: dict[Method, str] = {
    "offline": "before phase 2",
    "frozen": "after, encoder frozen",
    "trained": "after, encoder trained",
    "oracle": "oracle",
}


def require_page_writable(folder: Path) -> None:
    """Raise `OSError` where `write_page` could not write, before the study's days of work."""
    for name in (*FILES, "README.md", "metrics.json"):
        require_writable(folder / name)


def write_page(folder: Path, study: Study, command: str) -> list[Row]:
    """Write README.md, metrics.json and the figures into the study's folder; return the table.

    Of the methods that are done for every seed.

    Args:
        command: what a reader types to get the same.

    Raises:
        EvaluationError: the offline phase is not done, or a result is damaged.
    """
    results = load_results(folder, study.seeds)
    first = results["offline"][0]
    if first.random is None or first.period_s is None:
        raise EvaluationError(f"{folder}: seed 0's phase 1 says nothing of random actions")
    told = load_told(folder, study.seeds)
    metrics = Metrics(
        family=study.config.family,
        seeds=study.seeds,
        period_s=first.period_s,
        random=first.random,
        cells=all_cells(results),
        offline_context=offline_cells(results),
        told=told_cells(told),
    )
    cells = table_of(metrics.cells)
    table = rows(cells, study.config.algorithm.name)
    scale = ceilings([*metrics.offline_context, *metrics.told])
    by_steps: Curves = {inference: curves(results, cells, inference) for inference in BOTH}
    drawn = drawn_figures(metrics, results, table, scale, by_steps)
    for name, figure in drawn.items():
        write_atomically(folder / name, to_png(figure, DPI))
    page = _page(study, results, told, metrics, table, scale, by_steps, list(drawn), command)
    write_atomically(folder / "README.md", page.encode())
    written: dict[str, object] = {
        "rows": [asdict(row) for row in table],
        "scale": [asdict(one) for one in scale],
        "curves": {method: asdict(found) for method, found in by_steps["encoder"].items()},
        "likelihood_curves": {m: asdict(found) for m, found in by_steps["likelihood"].items()},
        "shift": shifts(results),
        "decoder": [None if r.decoder is None else asdict(r.decoder) for r in results["offline"]],
    }
    write_atomically(folder / "metrics.json", encode_metrics(written, metrics))
    return table


def _page(
    study: Study,
    results: Results,
    told: Sequence[ToldResult],
    metrics: Metrics,
    table: Sequence[Row],
    scale: Sequence[Ceiling],
    by_steps: Curves,
    drawn: Sequence[str],
    command: str,
) -> str:
    lean = smaller_than_the_authors(study.config)
    first = results["offline"][0].final
    tasks, repeats = len(first.offline_returns), len(first.offline_returns[0])
    judged, sparse = judged_decoders(results), scale[0].success is not None
    lines = [
        f"# Study of {study.config.family}",
        "",
        "```bash",
        command,
        "```",
        "",
        _protocol(study, results, tasks, repeats),
        "",
        *tables.returns(table, lean),
        "",
        "Return, mean over seeds and tasks. *First episode*: what is inferred follows every step, "
        "and nothing was explored before. *K*: after so many episodes of own exploration with true "
        f"rewards{_followed(study)}. *By likelihood*: the decoder's, over particles; *by encoder*: "
        f"the paper's inference.{tables.own_inferences(table)} Unless a row says otherwise phase 2 "
        f"explores by {_article(study.config.inference)}.",
        "",
        *tables.scale(scale, metrics.random, sparse),
        "",
        *(section(study.config.algorithm.name, METHODS) if compares_algorithms(table) else []),
        *(["Success: the state that an episode ends in.", ""] if sparse else []),
        *(["", *tables.successes(table, lean), ""] if sparse else []),
        f"![Adaptation by episodes of own exploration]({ADAPTATION})",
        "",
        f"![Reward by second within the first episode]({FIRST})",
        "",
        *_worth(worths(table_of(metrics.cells), table), lean),
        *_gaps(table, by_steps, metrics.period_s, lean),
        *(_by_steps(by_steps, lean, drawn) if any(by_steps.values()) else []),
        *_believed(metrics, lean),
        *_shift(results),
        *(_calibration(judged) if judged else []),
        "## Cost",
        "",
        *tables.table(
            ["job", "updates", "CPU minutes of the attempt that finished, mean"],
            [_cost(method, found[0].final.updates, found) for method, found in results.items()]
            + ([_cost(TOLD, told[0].updates, told)] if told else []),
        ),
        "",
        "## Settings",
        "",
        "```yaml",
        _settings(study),
        "```",
        "",
    ]
    return "\n".join(lines)


def _protocol(study: Study, methods: Collection[Method], tasks: int, repeats: int) -> str:
    interval = (
        f"{percent(LEVEL)} intervals are of a bootstrap over seeds, then over tasks within each"
        if study.seeds > 1
        else f"{percent(LEVEL)} intervals are of a bootstrap over tasks alone: one seed says "
        "nothing of others"
    )
    alone = f" but `{ONLINE}`" if ONLINE in methods else ""
    return (
        f"{study.seeds} seed{'s' if study.seeds > 1 else ''}; {tasks} held-out tasks, {repeats} "
        f"repeats each. {interval}. All methods{alone} learn from the same dataset; seeds differ "
        "in initial weights, draws and exploration. Each (seed, task, repeat) is in `metrics.json`."
    )


def _article(inference: Inference) -> str:
    return "the decoder's likelihood" if inference == "likelihood" else "the encoder"


def _worth(found: Sequence[Worth], lean: bool) -> list[str]:
    if not found:
        return []
    what = "Success" if found[0].success else "Return"
    return [
        "## What it is worth to know the task",
        "",
        *tables.worth(found, lean),
        "",
        f"{what}, K = {found[0].row.quoted}. *Own*: by what was explored in the task itself. "
        "*Another task's*: by what was explored in another held-out one, from the same start "
        "states. *None*: before any exploration. Where own and another's are alike, what was "
        "inferred says nothing of the task, however good the policy.",
        "",
    ]


def _gaps(table: Sequence[Row], by_steps: Curves, period_s: float, lean: bool) -> list[str]:
    if all(row.gap is None for row in table):
        return []
    return [
        "## The gap",
        "",
        *tables.gaps(table, by_steps, period_s, lean),
        "",
        f"*Gap*: the oracle less before phase 2, both by the row's inference, K = "
        f"{table[0].quoted}. *Closed*: (after − before) / gap of the means, where the gap's "
        "interval is above 0. Minutes of one robot, at the first point measured.",
        "",
    ]


def _by_steps(by_steps: Curves, lean: bool, drawn: Sequence[str]) -> list[str]:
    lines = [
        "## By reward-free steps",
        "",
        "Of the oracles they have rewards. Intervals are in the figure.",
        "",
        f"![Return by reward-free steps]({RETURNS})",
        "",
        *tables.by_steps(by_steps, lean, success=False),
        "",
    ]
    if SUCCESS not in drawn:
        return lines
    return [
        *lines,
        f"![Success by reward-free steps]({SUCCESS})",
        "",
        *tables.by_steps(by_steps, lean, success=True),
        "",
    ]


def _believed(metrics: Metrics, lean: bool) -> list[str]:
    found = tables.particles(table_of(metrics.cells), lean)
    if not found:
        return []
    return [
        "## What the likelihood knows",
        "",
        *found,
        "",
        "How many particles still count, 1 / Σ w², and in brackets the share of contexts that the "
        "decoder explains worse than training tasks' own.",
        "",
    ]


def _shift(results: Results) -> list[str]:
    if not results["offline"][0].final.placed:
        return []
    decoders = [r.decoder for r in results["offline"] if r.decoder is not None]
    relative = "; ".join(
        f"{SHIFT_NAMES[m]} {s:.2f}" for m, s in shifts(results).items() if m in SHIFT_NAMES
    )
    explained = ", ".join(percent(value.explained) for value in decoders)
    return [
        "## Why: the encoder's posterior before and after",
        "",
        f"![Posterior means]({SHIFT})",
        "",
        "Distance between a task's contexts from own exploration and from offline data, in spreads "
        f"of tasks: {relative}. The decoder explains {explained} of the variance of held-out "
        f"tasks' rewards{_trained(decoders)}.{_dynamics(results)}",
        "",
    ]


def _trained(decoders: Sequence[DecoderError]) -> str:
    """The same of the tasks trained on, and what to do where that is far more; empty in a study
    with a seed of before it was measured."""
    known = [percent(one.trained) for one in decoders if one.trained is not None]
    if len(known) < len(decoders):
        return ""
    cure = f": {AGAINST_BY_HEART}" if any(one.by_heart for one in decoders) else ""
    return f", {', '.join(known)} of those of tasks trained on{cure}"


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
        f"![Reliability diagram]({CALIBRATION})",
        "",
        "On transitions of held-out tasks, z from another draw of the same task's data.",
        "",
        *tables.calibration(judged),
        "",
    ]


def _followed(study: Study) -> str:
    if not study.config.robot.exploration.follow_rewards:
        return ""
    return ", which by likelihood follow them within each episode"


def _cost(method: Method, updates: int, found: Sequence[JobResult | ToldResult]) -> list[str]:
    minutes = sum(result.cpu_s for result in found) / len(found) / 60
    return [method, f"{updates:,}", f"{minutes:.1f}"]


def _settings(study: Study) -> str:
    """The configuration without the robot's section and the machine's paths."""
    settings = study.config.model_dump(mode="json", exclude={"robot": True, "data": {"path"}})
    settings["robot"] = {"exploration": study.config.robot.exploration.model_dump(mode="json")}
    return yaml.safe_dump(settings, sort_keys=False).rstrip()
