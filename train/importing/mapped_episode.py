"""One recorded episode as episodes of a family: fields, signals, rewards, ends, length. Pure.

Knows a mapping and a family; not which task an episode is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import ended_early
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.importing.fields import Rows, before_steps, columns_of, observed_rows
from fieldtune.train.importing.mapping import REWARD, FieldMapping
from fieldtune.train.importing.recording import RecordedEpisode

NO_NEXT = "last steps of episodes: the data do not say what they led to"
TOO_SHORT = "episodes without a complete step"
TOO_LONG = "episodes longer than the family's horizon (longer_episodes)"
TRUNCATED = "episodes only to the family's horizon (longer_episodes)"
CUT = "episodes cut into pieces of the family's horizon, all of which are kept (longer_episodes)"


@dataclass(frozen=True)
class Made:
    """An episode of a family with `task_index` 0, where it is from, and the rows of its actions."""

    place: str
    episode: LabelledEpisode
    rows: Rows


def episodes_made(
    recorded: RecordedEpisode,
    mapping: FieldMapping,
    family: TaskFamily,
    place: str,
    counts: Counter[str],
) -> Iterator[Made]:
    """What becomes of one recorded episode: one, several pieces, or none.

    Rewards are 0 where the mapping has none. `counts` counts what is not taken, by its sentence.

    Args:
        place: file and episode, for errors.

    Raises:
        UserError: it does not fit the mapping.
    """
    keys = [k for parts in mapping.observation.values() for part in parts for k in part.needs()]
    seen = observed_rows(recorded, keys, place, family.period_s)
    steps = seen.count - 1
    if steps < 1:
        counts[TOO_SHORT] += 1
        return
    rows = Rows(place, recorded.columns, steps, family.period_s)
    rewards = np.zeros(steps)
    if mapping.reward is not None:
        rewards = columns_of({REWARD.name: mapping.reward}, (REWARD,), rows)[:, 0]
    signals = None
    if mapping.signals:
        signals = columns_of(mapping.signals, family.signal_fields, rows)
    whole = LabelledEpisode(
        task_index=0,
        observations=columns_of(mapping.observation, family.observation_fields, seen),
        actions=columns_of(
            mapping.action, family.action_fields, replace(rows, before=before_steps(recorded))
        ),
        rewards=rewards,
        terminated=_terminated(rows, mapping.terminated),
        signals=signals,
    )
    if steps < len(next(iter(recorded.columns.values()))):
        counts[NO_NEXT] += 1
    horizon = family.horizon
    if steps <= horizon or mapping.longer_episodes == "refuse":
        yield Made(place, whole, rows)
    elif mapping.longer_episodes == "leave out":
        counts[TOO_LONG] += 1
    elif mapping.longer_episodes == "truncate":
        counts[TRUNCATED] += 1
        yield Made(place, piece(whole, 0, horizon), rows)
    else:
        counts[CUT] += 1
        for first in range(0, steps, horizon):
            end = min(first + horizon, steps)
            yield Made(f"{place}, steps {first} to {end - 1}", piece(whole, first, end), rows)


def piece(episode: LabelledEpisode, first: int, end: int) -> LabelledEpisode:
    """Steps `first` to `end - 1` of a whole episode; it ended where they reach the end."""
    return replace(
        episode,
        observations=episode.observations[first : end + 1],
        actions=episode.actions[first:end],
        rewards=episode.rewards[first:end],
        terminated=episode.terminated and end == episode.steps,
        signals=None if episode.signals is None else episode.signals[first:end],
    )


def _terminated(rows: Rows, key: str | None) -> bool:
    if key is None:
        return False
    marks = rows.columns[key][: rows.count]
    if marks.shape[1] != 1:
        raise DatasetError(
            f"{rows.place}: {key!r} ('terminated') has {marks.shape[1]} numbers a step, expected "
            "one, 0 but in a terminal state"
        )
    ends = marks[:, 0] != 0
    wrong = ended_early(ends, np.zeros_like(ends))
    if wrong:
        raise DatasetError(f"{rows.place}: {key!r}: {wrong}; or leave 'terminated' out")
    return bool(ends[-1])
