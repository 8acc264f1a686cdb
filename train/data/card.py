"""The card in a dataset's folder: what it is, how it was made, its returns, how to load it.

A pure function of the episodes and of how they came about: no date, no machine, so that the same
data always have the same card. Knows nothing of how episodes are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskFamily, TaskSplit, width
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.charts import AFTER, BEFORE, MUTED, bare_figure, legend_above, number

FIGURE, DPI = "returns.png", 110
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
NAMES = ("least", "25 %", "median", "75 %", "most")
MOST_PARAMETERS = 6  # numbers of a task that a table can show
SPLITS = {"train": "training", "test": "held-out"}


@dataclass(frozen=True)
class Described:
    """A dataset as its card sees it; `episodes[split]` in the order in which they are stored."""

    id: str
    family: TaskFamily
    tasks: TaskSplit
    episodes: Mapping[str, Sequence[LabelledEpisode]]
    how: Mapping[str, Any]

    def parameters(self, split: str) -> Array:
        return self.tasks.train if split == "train" else self.tasks.test

    def returns(self, split: str) -> list[NDArray[np.float64]]:
        """Each task's returns, `[task] -> (episode,)`."""
        found: list[list[float]] = [[] for _ in self.parameters(split)]
        for episode in self.episodes[split]:
            found[episode.task_index].append(float(episode.rewards.sum()))
        return [np.array(values) for values in found]

    @property
    def thinned(self) -> bool:
        """Whether transitions between those that were kept are missing."""
        return any(e.following is not None for part in self.episodes.values() for e in part)


def card(data: Described, size: int) -> str:
    """Markdown. `size` is what the episodes take on disk, in bytes."""
    everything = [episode for part in data.episodes.values() for episode in part]
    tasks = sum(len(data.parameters(split)) for split in SPLITS)
    steps = sum(episode.steps for episode in everything)
    family = data.family
    parts = [
        f"# {data.id}",
        f"Labelled transitions of {tasks} tasks of the family `{family.name}` "
        f"(robot `{family.robot}`, {family.period_s:g} s a step, {family.horizon} steps an "
        f"episode): {len(everything):,} episodes, {steps:,} transitions, {_bytes(size)} on disk. "
        "Every episode has the rewards of its own task.",
        "## How it was made",
        f"```yaml\n{_yaml(data.how)}```",
        "## What is in it",
        _table(
            ("split", "tasks", "episodes", "transitions", "ended in a terminal state"),
            _counts(data),
        ),
        _table(("field", "of", "width", "unit", "range"), _fields(data)),
        "Episodes are Minari's: `observations` (T+1), `actions`, `rewards`, `terminations`, "
        "`truncations` (T); a time limit is a truncation, never a termination. Attributes: "
        "`split`, `task_index` within it, `task` (the parameters)."
        + _where_signals_are(data)
        + _where_next_is(data),
        "## Returns",
        "The sum of an episode's rewards" + (", those kept." if data.thinned else "."),
        _table(("split", *NAMES, "mean"), _by_split(data)),
        f"![Returns by task, sorted by the median]({FIGURE})",
    ]
    rounds = data.how.get("return_by_round")
    if rounds:
        numbered = ", ".join(f"{index + 1}: {number(r)}" for index, r in enumerate(rounds))
        parts += ["### By round", f"Mean return of each round's episodes, kept or not. {numbered}."]
    parts += [
        "### By task",
        _table(("split", "task", *_task_columns(family), "episodes", *NAMES), _by_task(data)),
        "## How to load it",
        _loading(data),
    ]
    return "\n\n".join(parts) + "\n"


def returns_figure(data: Described) -> Figure:
    """Every task's returns, least to most and the middle half, sorted by the median."""
    figure, panels = bare_figure(8.0, 3.2, panels=len(SPLITS))
    for axes, (split, title), colour in zip(panels, SPLITS.items(), (AFTER, BEFORE), strict=True):
        known = [_quantiles(values) for values in data.returns(split) if len(values)]
        rows = np.array(sorted(known, key=lambda row: row[2])).reshape(-1, len(QUANTILES))
        places = np.arange(len(rows))
        axes.vlines(places, rows[:, 0], rows[:, 4], color=colour, alpha=0.3, linewidth=1.2)
        axes.vlines(places, rows[:, 1], rows[:, 3], color=colour, alpha=0.8, linewidth=2.2)
        axes.plot(places, rows[:, 2], ".", color=MUTED, markersize=4)
        axes.set_xlabel(f"{title} tasks, by median")
    panels[1].sharey(panels[0])
    panels[0].set_ylabel("return")
    bars = panels[0].vlines([], [], [], color=AFTER, alpha=0.8, linewidth=2.2, label="middle half")
    lines = panels[0].vlines([], [], [], color=AFTER, alpha=0.3, label="least to most")
    legend_above(figure, [lines, bars])
    return figure


def _counts(data: Described) -> Iterator[tuple[str, ...]]:
    for split, title in SPLITS.items():
        episodes = data.episodes[split]
        ended = sum(episode.terminated for episode in episodes)
        steps = sum(episode.steps for episode in episodes)
        tasks = len(data.parameters(split))
        yield (title, f"{tasks}", f"{len(episodes):,}", f"{steps:,}", f"{ended:,}")


def _fields(data: Described) -> Iterator[tuple[str, ...]]:
    family = data.family
    for kind, fields in (
        ("observation", family.observation_fields),
        ("action", family.action_fields),
        ("signals", family.signal_fields),
        ("task", family.task_fields),
    ):
        for field in fields:
            yield (f"`{field.name}`", kind, f"{field.width}", field.unit, _range(field))


def _range(field: Field) -> str:
    low, high = min(field.low), max(field.high)
    return "any" if np.isinf(low) and np.isinf(high) else f"{low:g} to {high:g}"


def _where_signals_are(data: Described) -> str:
    if not data.family.signal_fields:
        return ""
    measured = all(e.signals is not None for part in data.episodes.values() for e in part)
    if not measured:
        return " Nobody measured the signals: the rewards are the source's and cannot be redone."
    return " Signals are in `infos/signals` (T+1), one row after the step that they are of."


def _where_next_is(data: Described) -> str:
    if not data.thinned:
        return ""
    return (
        " Transitions were thinned out, so that a row of `observations` does not follow from the "
        "one before it: what step t led to is in row t + 1 of `infos/next_observations`."
    )


def _by_split(data: Described) -> Iterator[tuple[str, ...]]:
    for split, title in SPLITS.items():
        known = [values for values in data.returns(split) if len(values)]
        if known:
            values = np.concatenate(known)
            yield (title, *map(number, _quantiles(values)), number(float(values.mean())))


def _by_task(data: Described) -> Iterator[tuple[str, ...]]:
    shown = _task_columns(data.family)
    for split, title in SPLITS.items():
        parameters = data.parameters(split)
        for index, values in enumerate(data.returns(split)):
            task = [f"{value:.4g}" for value in parameters[index]] if shown else []
            quantiles = map(number, _quantiles(values)) if len(values) else ("–",) * len(NAMES)
            yield (title, f"{index}", *task, f"{len(values)}", *quantiles)


def _task_columns(family: TaskFamily) -> list[str]:
    """One a parameter; none where they are too many: then `data/metadata.json` has them."""
    if width(family.task_fields) > MOST_PARAMETERS:
        return []
    return [
        f"{field.name}{f' {axis}' if field.width > 1 else ''}, {field.unit}"
        for field in family.task_fields
        for axis in range(field.width)
    ]


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, QUANTILES)]


def _loading(data: Described) -> str:
    return (
        "As `data.path` of a run, or in Python:\n\n"
        "```python\n"
        "from pathlib import Path\n"
        "from fieldtune.sim.registry import family\n"
        "from fieldtune.train.data.dataset import read_dataset\n\n"
        f'data = read_dataset(Path("FOLDER"), family("{data.family.name}"))\n'
        "data.train[0][0].rewards  # first training task, first episode\n"
        "```\n\n"
        "Minari reads it by itself:\n\n"
        "```python\n"
        "import minari\n\n"
        'dataset = minari.MinariDataset("FOLDER/data")  # an absolute path\n'
        "```"
    )


def _yaml(how: Mapping[str, Any]) -> str:
    """Without the returns by round, which have a place of their own."""
    known = {key: value for key, value in how.items() if key != "return_by_round"}
    lines = [
        yaml.safe_dump(
            {key: value},
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None if isinstance(value, dict | list) else False,  # short lists
            width=100,
        )
        for key, value in known.items()
    ]
    return "".join(lines) or "# not said\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _bytes(size: float) -> str:
    units = ("bytes", "kB", "MB", "GB")
    power = min(int(np.log10(max(size, 1)) // 3), len(units) - 1)
    return f"{size / 1000**power:.3g} {units[power]}"
