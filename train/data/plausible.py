"""What numbers are plausible in a family's data: an interval for each component.

Two kinds: `among`, for a dataset held against itself, so that a few absurd numbers cannot vouch for
each other; and `beyond`, for what comes later, held against the dataset. Pure functions of arrays.
Meant for what no sensor can have meant (1e30 rad/s), not for what is merely new to the agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array, Field, TaskFamily, bounds
from fieldtune.sim.rollout import LabelledEpisode

LARGEST = 1e12  # of any number; float32 networks must be able to square it
ABSURD = 1000.0  # spans beyond the bulk of its own dataset
FAR = 10.0  # spans beyond all of a dataset
UNITS_AMONG, UNITS_BEYOND = 1000.0, 1.0  # of a field's unit: no interval is narrower to a side
TAIL = 0.01  # at either end: what is left out of the bulk
ROWS = 50_000  # that the bulk is measured on


@dataclass(frozen=True)
class Plausible:
    """Where an episode's numbers must be: observations `(component,)`, and its rewards."""

    low: Array
    high: Array
    reward_low: float = -LARGEST
    reward_high: float = LARGEST


def anything(family: TaskFamily) -> Plausible:
    """Of a family without data: its declared bounds, and what float32 can hold."""
    nothing = np.full(len(bounds(family.observation_fields)[0]), LARGEST)
    return Plausible(*_within_declared(family.observation_fields, -nothing, nothing, 0.0, 0.0))


def among(family: TaskFamily, episodes: Sequence[LabelledEpisode]) -> Plausible:
    """Of episodes held against their own bulk: `ABSURD` spans of it, to either side.

    The bulk is all but the `TAIL` at each end, and never all. Numbers must be within `LARGEST`.
    """
    stride = max(1, sum(episode.steps + 1 for episode in episodes) // ROWS)
    seen = np.concatenate([e.observations[::stride] for e in episodes])
    rewards = np.concatenate([e.rewards for e in episodes])
    wide = ABSURD, UNITS_AMONG
    low, high = _within_declared(family.observation_fields, *_bulk(seen), *wide)
    reward = (Field.unbounded("reward", ""),)
    reward_low, reward_high = _within_declared(reward, *_bulk(rewards[:, None]), *wide)
    return Plausible(low, high, float(reward_low[0]), float(reward_high[0]))


def beyond(family: TaskFamily, episodes: Sequence[LabelledEpisode]) -> Plausible:
    """Of newcomers to a dataset: `FAR` spans beyond all that `episodes` saw, to either side.

    Any reward will do: a newcomer brings none.
    """
    low = np.min([e.observations.min(axis=0) for e in episodes], axis=0)
    high = np.max([e.observations.max(axis=0) for e in episodes], axis=0)
    fields = family.observation_fields
    return Plausible(*_within_declared(fields, low, high, FAR, UNITS_BEYOND))


def _bulk(rows: Array) -> tuple[Array, Array]:
    """Each column's least and largest, those of its tails left out: one at least at each end."""
    ordered = np.sort(rows, axis=0)
    last = len(rows) - 1
    first = min(int(np.ceil(TAIL * last)), last // 2)
    return ordered[first], ordered[last - first]


def _within_declared(
    fields: tuple[Field, ...], low: Array, high: Array, spans: float, units: float
) -> tuple[Array, Array]:
    """Intervals around what was seen, `low` to `high`; where a field is bounded, around its bounds.

    To either side it is `spans` times what the widest of the field's components moved, for one that
    hardly moved in the data; at least a tenth of that of its size, and `units`. Sensors may
    overshoot declared bounds by as much as lies between them.
    """
    declared_low, declared_high = bounds(fields)
    widths = [field.width for field in fields]
    starts = np.cumsum([0, *widths[:-1]])
    widest = np.repeat(np.maximum.reduceat(high - low, starts), widths)
    size = np.maximum(np.abs(low), np.abs(high))
    margin = np.maximum(spans * np.maximum(widest, 0.1 * size), units)
    between = declared_high - declared_low
    slack = np.where(np.isfinite(between), between, margin)
    lowest = np.where(np.isfinite(declared_low), declared_low - slack, low - margin)
    highest = np.where(np.isfinite(declared_high), declared_high + slack, high + margin)
    return np.maximum(lowest, -LARGEST), np.minimum(highest, LARGEST)
