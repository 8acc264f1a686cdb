"""A study's tables, as Markdown lines: functions of `fieldtune.train.study.summary`'s, and of what
algorithms say they adapt by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fieldtune.train.algorithms.registry import adapts_by
from fieldtune.train.charts import number, percent
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.results import Inference
from fieldtune.train.evaluation.statistics import Estimate, Gap
from fieldtune.train.runs.origin import ONLINE, TOLD
from fieldtune.train.study.plan import Method
from fieldtune.train.study.summary import FIRST, Ceiling, Curve, Row, Table, Worth

NAMES: dict[Method, str] = {
    "offline": "before phase 2",
    "trained": "after phase 2, no rewards",
    "trained-encoder": "after phase 2, explored by the encoder",
    "frozen": "the paper's: encoder frozen, explored by it",
    "frozen-oracle": "true rewards, encoder frozen, explored by it",
    "oracle": "true rewards in phase 2: the oracle",
    "longer-offline": "as many further offline updates, no new data",
    "meta-bc": "meta-behaviour cloning",
    "pearl": "PEARL on the static data",
    ONLINE: "PEARL in the simulator, rewards given",
    "focal": "FOCAL",
    "csro": "CSRO",
    "unicorn": "UNICORN",
    "macaw": "MACAW",
    "borel": "BOReL",
    TOLD: "told the task: cloning of what succeeded",
}
LEAN = ", at the lean budget"
NONE = "–"


def named(method: Method, lean: bool) -> str:
    """A method's name in tables, a plug-in's as it is called; the paper's says where its budget is
    not the authors'."""
    known = NAMES.get(method, method)
    return known + LEAN if lean and method in ("frozen", "frozen-oracle") else known


def inferred(row: Row) -> str:
    """What a row infers by, in words: an algorithm without an encoder says by what else."""
    if row.inference == "encoder":
        return adapts_by(row.algorithm) or row.inference
    return row.inference


def own_inferences(rows: Sequence[Row]) -> str:
    """A sentence for each algorithm of the table that has no encoder; empty where all have."""
    others = {name: adapts_by(name) for name in dict.fromkeys(row.algorithm for row in rows)}
    return "".join(
        f" {named(name, lean=False)} has no encoder and adapts by {other}, "
        "which figures show as by encoder."
        for name, other in others.items()
        if other is not None
    )


def returns(rows: Sequence[Row], lean: bool) -> list[str]:
    """Phase by inference: the first episode, and after one and two."""
    columns = _columns([row.returns for row in rows])
    head = ["phase", "inference", *map(_heading, columns), f"by seed, {_heading(columns[-1])}"]
    body = [
        [
            named(row.method, lean),
            inferred(row),
            *(estimate(row.returns[c]) if c in row.returns else NONE for c in columns),
            ", ".join(number(value) for value in row.by_seed),
        ]
        for row in rows
    ]
    return table(head, body)


def successes(rows: Sequence[Row], lean: bool) -> list[str]:
    """Likewise, of families with success."""
    known = [(row, row.successes) for row in rows if row.successes is not None]
    columns = _columns([found for _, found in known])
    head = ["phase", "inference", *map(_heading, columns)]
    body = [
        [
            named(row.method, lean),
            inferred(row),
            *(share(found[c]) if c in found else NONE for c in columns),
        ]
        for row, found in known
    ]
    return table(head, body)


def scale(ceilings: Sequence[Ceiling], random: float, sparse: bool) -> list[str]:
    """What own exploration is compared with."""
    head = ["for scale", "return", "by seed", *(["success"] if sparse else [])]
    body = [
        [
            NAMES[TOLD] if one.method == TOLD else f"offline context, {named(one.method, False)}",
            estimate(one.value),
            ", ".join(number(value) for value in one.by_seed),
            *([] if one.success is None else [share(one.success)]),
        ]
        for one in ceilings
    ]
    body.append(["random actions", number(random), "", *([""] if sparse else [])])
    return table(head, body)


def gaps(
    rows: Sequence[Row],
    curves: Mapping[Inference, Mapping[Method, Curve]],
    period_s: float,
    lean: bool,
) -> list[str]:
    """What each closed of its inference's gap, and how long a robot explored for 90 % of it."""
    head = ["phase", "inference", "gap", "closed", "robot minutes without rewards to 90 %"]
    body = []
    for row in rows:
        if row.gap is None:
            continue
        curve = curves[row.inference].get(row.method)
        minutes = None if curve is None else curve.minutes(period_s)
        body.append(
            [
                named(row.method, lean),
                row.inference,
                estimate(row.gap.size),
                closed(row.gap),
                NONE if minutes is None else f"{minutes:.0f}",
            ]
        )
    return table(head, body)


def by_steps(
    curves: Mapping[Inference, Mapping[Method, Curve]], lean: bool, *, success: bool
) -> list[str]:
    """Return, or success, by reward-free steps; those of the first line stand for all, which
    differ by less than what arrives at once."""
    found = [
        (named(method, lean), inference, curve)
        for inference, known in curves.items()
        for method, curve in known.items()
        if not success or curve.success is not None
    ]
    longest = max((curve for _, _, curve in found), key=lambda curve: len(curve.steps))
    shown = percent if success else number
    body = []
    for name, inference, curve in found:
        values = curve.success if success else curve.returns
        assert values is not None
        left = [""] * (len(longest.steps) - len(values))
        told = [shown(one.value) for one in values]
        body.append([name, inference, told[0], *left, *told[1:]])
    return table(["phase", "inference", *(f"{steps:,.0f}" for steps in longest.steps)], body)


def worth(found: Sequence[Worth], lean: bool) -> list[str]:
    """What own exploration gives over another task's, and over none."""
    head = ["phase", "inference", "own", "another task's", "none", "own − another's", "own − none"]
    body = []
    for one in found:
        told = share if one.success else estimate
        columns = (one.own, one.another, one.nothing, one.over_another, one.over_nothing)
        name = named(one.row.method, lean)
        body.append([name, inferred(one.row), *(told(column) for column in columns)])
    return table(head, body)


def particles(cells: Table, lean: bool) -> list[str]:
    """How many particles still count, and how many contexts are unlike the training tasks'."""
    known = [one for one in cells.values() if one.effective_particles is not None]
    if not known:
        return []
    episodes = known[0].episodes
    shown = [k for k in (0, 1, 2, 4, 8) if k <= episodes]
    head = ["by likelihood", *(f"K = {k}" for k in shown)]
    body = []
    for one in known:
        assert one.effective_particles is not None
        assert one.unlike is not None
        count = [sum(row) / len(row) for row in one.effective_particles]
        unlike = [sum(row) / len(row) for row in one.unlike]
        body.append(
            [named(one.method, lean), *(f"{count[k]:.1f} ({percent(unlike[k])})" for k in shown)]
        )
    return table(head, body)


def calibration(judged: Sequence[Calibration]) -> list[str]:
    """The decoder as a classifier of success, seed by seed."""
    head = [
        "seed",
        "Brier score",
        "expected calibration error",
        "successes found",
        "others ruled out",
    ]
    body = [
        [
            str(seed),
            f"{one.brier:.4f}",
            f"{one.expected_error:.4f}",
            _or_none(one.found),
            _or_none(one.ruled_out),
        ]
        for seed, one in enumerate(judged)
    ]
    return table(head, body)


def closed(gap: Gap) -> str:
    """The share of a gap that was closed; in words where there is none to close."""
    if gap.closed is None:
        return "true rewards lose" if gap.size.high < 0 else "no gap that these cells can tell"
    found = gap.closed
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")


def estimate(found: Estimate) -> str:
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def share(found: Estimate) -> str:
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Markdown lines."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cells) + " |" for cells in body),
    ]


def _columns(found: Sequence[Mapping[str, Estimate]]) -> list[str]:
    """Every column that a row has, the first episode first."""
    known = {column for one in found for column in one}
    return sorted(known, key=lambda column: -1 if column == FIRST else int(column))


def _heading(column: str) -> str:
    return "first episode" if column == FIRST else f"K = {column}"


def _or_none(value: float | None) -> str:
    return NONE if value is None else percent(value)
