"""Which figures a study's page has, by file: those that there are numbers for.

Draws nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.study import figures, tables
from fieldtune.train.study.cells import Metrics
from fieldtune.train.study.methods_figure import methods_figure
from fieldtune.train.study.plan import BASELINES, PHASES, Method
from fieldtune.train.study.results import Results
from fieldtune.train.study.summary import Ceiling, Curve, Row

Curves = Mapping[Inference, Mapping[Method, Curve]]

ADAPTATION, FIRST, METHODS, RETURNS, SUCCESS, SHIFT, CALIBRATION = (
    "adaptation.png",
    "first-episode.png",
    "methods.png",
    "returns.png",
    "success.png",
    "shift.png",
    "calibration.png",
)
FILES = (ADAPTATION, FIRST, METHODS, RETURNS, SUCCESS, SHIFT, CALIBRATION)


def drawn_figures(
    metrics: Metrics,
    results: Results,
    table: Sequence[Row],
    scale: Sequence[Ceiling],
    by_steps: Curves,
) -> dict[str, Figure]:
    """Those that there are numbers for, by file."""
    judged = judged_decoders(results)
    found = {ADAPTATION: figures.adaptation(metrics), FIRST: figures.first_episode(metrics)}
    if compares_algorithms(table):
        found[METHODS] = methods_figure(table, scale)
    if any(by_steps.values()):
        levels, shares = _levels(table, scale)
        found[RETURNS] = figures.by_steps(by_steps, levels)
        if shares:
            found[SUCCESS] = figures.by_steps(by_steps, shares, success=True)
    if results["offline"][0].final.placed:
        found[SHIFT] = figures.posterior_shift(results)
    if judged:
        found[CALIBRATION] = figures.reliability(judged)
    return found


def _levels(
    table: Sequence[Row], scale: Sequence[Ceiling]
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns and successes of what needs no reward-free steps, by name, each by its encoder. Other
    algorithms are in the figure of methods."""
    offline = scale[0]
    name = "offline context, before phase 2"
    levels = {name: offline.value.value}
    shares = {} if offline.success is None else {name: offline.success.value}
    for row in table:
        if row.method in BASELINES and row.inference == "encoder":
            name, k = tables.named(row.method, lean=False), str(row.quoted)
            levels[name] = row.returns[k].value
            if row.successes is not None:
                shares[name] = row.successes[k].value
    return levels, shares


def compares_algorithms(table: Sequence[Row]) -> bool:
    """Whether an algorithm besides the study's own is in it."""
    return any(row.method not in PHASES for row in table)


def judged_decoders(results: Results) -> list[Calibration]:
    """Each seed's decoder as a classifier; empty where rewards are not sparse."""
    found = [r.decoder.calibration for r in results["offline"] if r.decoder is not None]
    return [each for each in found if each is not None]
