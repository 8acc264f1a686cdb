"""A dry run's figures: what the data are by field, beside what the family declares and simulates.

Pure but for the simulator, which is asked once. Knows episodes by task; not where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array, Field, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.importing.source import SPLITS, NamedTasks
from fieldtune.train.importing.unit_check import simulated

Interval = tuple[float, float]


@dataclass(frozen=True)
class FieldRange:
    """All numbers of one field: least, mean and most of them, and where they should be.

    `declared` is the family's, infinite where it has none; `simulated` what random actions show in
    its simulator, None where there is none.
    """

    kind: str
    name: str
    unit: str
    seen: Interval
    mean: float
    declared: Interval
    simulated: Interval | None

    @property
    def outside(self) -> bool:
        """Whether a number is beyond the declared bounds, or none at all."""
        low, high = self.declared
        return not (self.seen[0] >= low and self.seen[1] <= high)


@dataclass(frozen=True)
class TaskCount:
    """How much there is of one task."""

    split: str
    name: str
    episodes: int
    steps: int


@dataclass(frozen=True)
class Survey:
    """What a dry run shows."""

    fields: tuple[FieldRange, ...]
    tasks: tuple[TaskCount, ...]


def survey(
    family: TaskFamily, tasks: NamedTasks, episodes_of: Callable[[str], Sequence[LabelledEpisode]]
) -> Survey:
    """Ranges by field and counts by task.

    Args:
        episodes_of: a task's by its name, sound or not, none where there are none.
    """
    found: list[LabelledEpisode] = []
    counts = []
    for split in SPLITS:
        for name in tasks.names[split]:
            of_task = list(episodes_of(name))
            counts.append(TaskCount(split, name, len(of_task), sum(e.steps for e in of_task)))
            found += of_task
    if not found:
        return Survey((), tuple(counts))
    try:
        ours = simulated(family)
    except NotImplementedError:
        ours = []
    return Survey(tuple(_ranges(family, found, ours)), tuple(counts))


def lines(shown: Survey) -> Iterator[str]:
    """The survey as a person reads it in a terminal."""
    yield f"{'':<12}{'field':<28}{'unit':<12}{'least':>10}{'mean':>10}{'most':>10}  family's"
    for one in shown.fields:
        low, high = one.seen
        text = f"{one.kind:<12}{one.name:<28}{one.unit[:11]:<12}{low:>10.4g}{one.mean:>10.4g}"
        text += f"{high:>10.4g}  {_interval(one.declared)}"
        if one.simulated is not None:
            text += f", simulated {_interval(one.simulated)}"
        yield text + (" <- outside" if one.outside else "")
    yield f"{'':<12}{'task':<28}{'split':<12}{'episodes':>10}{'steps':>10}"
    for task in shown.tasks:
        yield f"{'':<12}{task.name:<28}{task.split:<12}{task.episodes:>10}{task.steps:>10}"


def _interval(interval: Interval) -> str:
    low, high = interval
    if np.isinf(low):
        return "any" if np.isinf(high) else f"at most {high:.4g}"
    return f"at least {low:.4g}" if np.isinf(high) else f"{low:.4g} to {high:.4g}"


def _ranges(
    family: TaskFamily, found: Sequence[LabelledEpisode], ours: Sequence[LabelledEpisode]
) -> Iterator[FieldRange]:
    reward = (Field("reward", "", (family.reward_bounds[0],), (family.reward_bounds[1],)),)
    for kind, fields in (
        ("observation", family.observation_fields),
        ("action", family.action_fields),
        ("signal", family.signal_fields),
        ("", reward),
    ):
        theirs, of_ours = _rows(kind, found), _rows(kind, ours)
        start = 0
        for field in fields:
            columns = slice(start, start + field.width)
            start += field.width
            if not len(theirs):
                continue
            numbers = theirs[:, columns]
            shown = None
            if len(of_ours) and kind != "action":
                shown = (float(of_ours[:, columns].min()), float(of_ours[:, columns].max()))
            yield FieldRange(
                kind,
                field.name,
                field.unit,
                (float(numbers.min()), float(numbers.max())),
                float(numbers.mean()),
                (min(field.low), max(field.high)),
                shown,
            )


def _rows(kind: str, episodes: Sequence[LabelledEpisode]) -> Array:
    """Every row of one kind, `(row, component)`; none where an episode has none."""
    parts = [
        {"observation": e.observations, "action": e.actions, "signal": e.signals}.get(
            kind, e.rewards[:, None]
        )
        for e in episodes
    ]
    if not parts or any(part is None for part in parts):
        return np.zeros((0, 0))
    return np.concatenate([part for part in parts if part is not None])
