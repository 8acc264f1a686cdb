"""The gate before training: what every episode must be, whoever brings it.

Called for datasets when they are imported, collected, written and read, and for episodes of robots
and simulators before they join the replay. Pure functions that say what is wrong first, as a
sentence that names field, step, value and what was expected; empty where nothing is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, Field, TaskFamily, TaskSplit, bounds, width
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.doubled import twice
from fieldtune.train.data.plausible import LARGEST, Plausible, among, anything
from fieldtune.train.data.task_numbers import in_both

SLACK = 0.01  # of an action's range, for rounding
ALIKE = 1e-6  # of their size: rewards that differ by less are one number to a float32 network
UNITS = (("degrees for radians", 180.0 / np.pi), ("cm for m, or percent", 100.0), ("mm", 1000.0))


def problem(
    episode: LabelledEpisode,
    family: TaskFamily,
    plausible: Plausible | None = None,
    *,
    labelled: bool = True,
) -> str:
    """What is wrong with one episode, first; empty where it may be learned from.

    Args:
        plausible: where its numbers must be; the family's declared bounds where not given.
        labelled: whether it brings rewards, which are looked at then.
    """
    steps = len(episode.actions)
    if steps == 0:
        return "it has no complete step"
    if steps > family.horizon:
        return f"it has {steps} steps, {family.name} ends after {family.horizon}"
    seen, acted = width(family.observation_fields), width(family.action_fields)
    measured = episode.signals if family.signal_fields else None
    for name, array, shape in (
        ("observations", episode.observations, (steps + 1, seen)),
        ("next observations", episode.following, (steps, seen)),
        ("actions", episode.actions, (steps, acted)),
        ("rewards", episode.rewards, (steps,)),
        ("signals", measured, (steps, width(family.signal_fields))),
    ):
        if array is not None and array.shape != shape:
            return f"{name} are {list(array.shape)}, expected {list(shape)}"
    where = anything(family) if plausible is None else plausible
    return (
        _observations(episode, family, where)
        or _actions(episode.actions, family.action_fields)
        or (_rewards(episode.rewards, family, where) if labelled else "")
        or ("" if measured is None else _signals(measured, family.signal_fields))
    )


def problem_of_all(
    family: TaskFamily,
    tasks: TaskSplit,
    episodes: Mapping[Any, Sequence[LabelledEpisode]],
    names: Mapping[Any, Sequence[str]] | None = None,
    *,
    once: bool = False,
) -> str:
    """What is wrong with a dataset, first: its tasks, each of its episodes, its rewards.

    Args:
        episodes: `episodes["train"]` and `episodes["test"]`, whose `task_index` counts within that
            split of `tasks`.
        names: what a person calls the tasks, `names[split][task]`; their numbers where not given.
        once: whether no episode may be there twice (`fieldtune.train.data.doubled`): for data of
            others. What `fieldtune collect` draws for `data.agent.relabelled`, it may draw twice.
    """
    wrong = _tasks(family, tasks)
    if wrong:
        return wrong
    everything = [(split, episode) for split, part in episodes.items() for episode in part]
    # By themselves first: what is not finite has no place in a range.
    for measured in (False, True):
        where = among(family, [e for _, e in everything]) if measured and everything else None
        for (_, episode), place in zip(everything, _places(everything, names), strict=True):
            wrong = problem(episode, family, where)
            if wrong:
                return f"{place}: {wrong}"
    if once:
        known = zip(_places(everything, names), everything, strict=True)
        wrong = twice(family, ((place, split, e.task_index, e) for place, (split, e) in known))
        if wrong:
            return wrong
    return all_alike([episode.rewards for episode in episodes.get("train", ())])


def _places(
    everything: Sequence[tuple[Any, LabelledEpisode]], names: Mapping[Any, Sequence[str]] | None
) -> Iterator[str]:
    """Where each episode is, as a person calls it: its split, its task, its number in there."""
    before: Counter[tuple[Any, int]] = Counter()
    for split, episode in everything:
        index = episode.task_index
        task = index if names is None else repr(names[split][index])
        yield f"{split} task {task}, episode {before[split, index]}"
        before[split, index] += 1


def _tasks(family: TaskFamily, tasks: TaskSplit) -> str:
    expected = width(family.task_fields)
    for name, parameters in (("training", tasks.train), ("held-out", tasks.test)):
        if parameters.ndim != 2 or parameters.shape[1] != expected:
            named = ", ".join(f"{field.name} ({field.width})" for field in family.task_fields)
            return (
                f"{name} tasks are {list(parameters.shape)}, expected [tasks, {expected}]: "
                f"{named}; of another version of the family? then collect again"
            )
        if not np.isfinite(parameters).all():
            return f"{name} tasks have parameters that are not finite"
    same = in_both(family, tasks)
    if same is None:
        return ""
    return (
        f"training task {same[0]} and held-out task {same[1]} are the same, "
        f"{tasks.train[same[0]].tolist()}: what is held out must not be trained on; remove one"
    )


def ended_early(terminations: NDArray[Any], truncations: NDArray[Any]) -> str:
    """What is wrong with an episode's marks `(T,)`: only the last step may end it."""
    for name, marks in (("terminations", terminations), ("truncations", truncations)):
        early = np.flatnonzero(np.asarray(marks)[:-1])
        if len(early):
            return (
                f"{name} mark an end at step {early[0]} of {len(marks)}: an episode ends at its "
                "last step; cut it where it ended (did the environment reset itself?)"
            )
    return ""


def all_alike(rewards: Sequence[Array]) -> str:
    """What is wrong with the training tasks' rewards, all of them: whether they differ at all."""
    if not rewards:
        return ""
    paid = np.concatenate(rewards)
    if not is_spread(paid):
        return (
            f"every reward of the training tasks is {paid[0] + 0.0:g}: decoder and encoder have "
            "nothing to tell tasks apart by; take data in which rewards differ (for sparse "
            "rewards: with successes), or subtract what they share"
        )
    return ""


def is_spread(rewards: Array) -> bool:
    """Whether rewards `(transition,)` differ by more than float32 makes of one number."""
    return bool(rewards.max() - rewards.min() > ALIKE * np.abs(rewards).max())


def _observations(episode: LabelledEpisode, family: TaskFamily, where: Plausible) -> str:
    for what, rows in (
        ("observation", episode.observations),
        ("next observation", episode.following),
    ):
        if rows is None:
            continue
        found = _outside(rows, where.low, where.high)
        if found is not None:
            step, index = found
            named, unit = _named(family.observation_fields, index)
            return (
                f"{what} {named} at step {step} is {rows[step, index]:.6g} {unit}, expected "
                f"{_expected(rows[step, index], where.low[index], where.high[index])}: check that "
                "sensor and its unit, or leave the episode out"
            )
    return ""


def _actions(actions: Array, fields: tuple[Field, ...]) -> str:
    low, high = bounds(fields)
    slack = np.nan_to_num(SLACK * (high - low), posinf=0.0)
    found = _outside(actions, np.maximum(low - slack, -LARGEST), np.minimum(high + slack, LARGEST))
    if found is None:
        return ""
    step, index = found
    named, unit = _named(fields, index)
    return (
        f"action {named} at step {step} is {actions[step, index]:.6g} {unit}, expected "
        f"{_expected(actions[step, index], low[index], high[index])}, the action's bounds"
        f"{_other_unit(actions, low, high)}"
    )


def _other_unit(actions: Array, low: Array, high: Array) -> str:
    """Which other unit would explain `actions` `(T, action)`, if one does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        times = float((np.abs(actions) / np.maximum(np.abs(low), np.abs(high))).max())
    for name, factor in UNITS:
        if 0.5 * factor < times <= (1 + SLACK) * factor:
            return f": are they {factor:.4g} times too large ({name})?"
    return ": give them as the robot applied them, in the family's unit"


def _rewards(rewards: Array, family: TaskFamily, where: Plausible) -> str:
    low, high = where.reward_low, where.reward_high
    found = _outside(rewards[:, None], np.array([low]), np.array([high]))
    if found is not None:
        value = rewards[found[0]]
        return f"reward at step {found[0]} is {value:.6g}, expected {_expected(value, low, high)}"
    if family.sparse_reward:
        other = np.flatnonzero((rewards != 0.0) & (rewards != -1.0))
        if len(other):
            return (
                f"reward at step {other[0]} is {rewards[other[0]]:.6g}, but {family.name}'s are "
                "sparse: 0 in success and -1 otherwise; subtract 1 where yours are 1 and 0"
            )
    return ""


def _signals(signals: Array, fields: tuple[Field, ...]) -> str:
    most = np.full(signals.shape[1], LARGEST)
    found = _outside(signals, -most, most)
    if found is None:
        return ""
    named, unit = _named(fields, found[1])
    value = signals[found]
    return (
        f"signal {named} at step {found[0]} is {value:.6g} {unit}, expected "
        f"{_expected(value, -LARGEST, LARGEST)}"
    )


def _outside(rows: Array, low: Array, high: Array) -> tuple[int, int] | None:
    """Step and component of the first of `rows` `(step, component)` not within; NaN is not."""
    within = (rows >= low) & (rows <= high)
    if within.all():
        return None
    step, index = np.argwhere(~within)[0]
    return int(step), int(index)


def _expected(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "a finite number"
    return f"{low:.4g} to {high:.4g}"


def _named(fields: tuple[Field, ...], index: int) -> tuple[str, str]:
    """The field that component `index` is of, as a person writes it, and its unit."""
    for field in fields:
        if index < field.width:
            return f"{field.name!r}" + (f"[{index}]" if field.width > 1 else ""), field.unit
        index -= field.width
    raise IndexError(index)
