"""Checks of what a family says of itself, before anything moves.

Knows fields, tasks and seeds.
"""

from __future__ import annotations

import math

import numpy as np

from fieldtune.sim.checks.finding import Check, Wrong
from fieldtune.sim.checks.recorded import Probe, component, widths
from fieldtune.sim.family import Array, Field, bounds, width


def fields(probe: Probe) -> str:
    family = probe.family
    for what, group in (
        ("observation", family.observation_fields),
        ("action", family.action_fields),
        ("task", family.task_fields),
        ("signal", family.signal_fields),
    ):
        _sound(what, group)
        if not group and what != "signal":
            raise Wrong(f"{what}_fields are empty: say at least one")
    low, high = bounds(family.action_fields)
    if not np.isfinite([low, high]).all():
        index = int(np.argwhere(~np.isfinite(low) | ~np.isfinite(high))[0, 0])
        raise Wrong(
            f"action {component(family.action_fields, index)} has no finite bounds: a policy's "
            "actions lie between bounds; give them"
        )
    return (
        f"{width(family.observation_fields)} numbers seen, {width(family.action_fields)} acted "
        f"({widths(family.action_fields)}), {width(family.task_fields)} of a task"
    )


def _sound(what: str, group: tuple[Field, ...]) -> None:
    names = [field.name for field in group]
    for field in group:
        if not field.name or names.count(field.name) > 1:
            raise Wrong(f"{what} field {field.name!r} is there twice, or has no name: rename it")
        if field.width == 0:
            raise Wrong(f"{what} field {field.name!r} has no component: give it bounds, or drop it")
        for index, (low, high) in enumerate(zip(field.low, field.high, strict=True)):
            if not low < high:
                raise Wrong(
                    f"{what} field {field.name!r}[{index}] is bounded by {low} and {high}: "
                    "expected low < high"
                )


def time(probe: Probe) -> str:
    horizon, period = probe.family.horizon, probe.family.period_s
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise Wrong(f"horizon is {horizon!r}: expected a whole number of steps, 1 or more")
    if not (isinstance(period, int | float) and math.isfinite(period) and period > 0):
        raise Wrong(f"period_s is {period!r}: expected seconds, more than 0")
    return f"{horizon} steps of {period:g} s: {horizon * period:g} s"


def tasks(probe: Probe) -> str:
    sample, group = probe.family.sample_tasks, probe.family.task_fields
    drawn = _tasks("sample_tasks(0, 5)", sample(0, 5), group)
    if drawn.shape[0] != 5:
        raise Wrong(f"sample_tasks(0, 5) gives {len(drawn)} tasks: expected 5")
    if not np.array_equal(drawn, sample(0, 5)):
        raise Wrong(
            "sample_tasks(0, 5) gives other tasks when asked again: draw from "
            "np.random.default_rng(seed) alone"
        )
    if np.array_equal(drawn, sample(1, 5)):
        raise Wrong("sample_tasks gives the same tasks for seeds 0 and 1: draw them from the seed")
    return f"{widths(group)}; by seed alone, within their bounds"


def split(probe: Probe) -> str:
    made, again = probe.family.split(), probe.family.split()
    train = _tasks("split().train", made.train, probe.family.task_fields)
    test = _tasks("split().test", made.test, probe.family.task_fields)
    for name, one, other in (("train", train, again.train), ("test", test, again.test)):
        if not len(one):
            raise Wrong(f"split().{name} has no task: give it some")
        if not np.array_equal(one, other):
            raise Wrong(f"split().{name} differs when asked again: fix it by a seed or a list")
    known = {row.tobytes(): index for index, row in enumerate(train)}
    for index, row in enumerate(test):
        if row.tobytes() in known:
            raise Wrong(
                f"training task {known[row.tobytes()]} and held-out task {index} are the same, "
                f"{row.tolist()}: what is held out must not be trained on"
            )
    return f"{len(train)} tasks to train on, {len(test)} held out, none in both"


def _tasks(what: str, found: Array, group: tuple[Field, ...]) -> Array:
    tasks = np.asarray(found)
    if tasks.ndim != 2 or tasks.shape[1] != width(group) or tasks.dtype.kind != "f":
        raise Wrong(
            f"{what} is {tasks.dtype} {list(tasks.shape)}: expected float [task, {width(group)}] "
            f"by task_fields ({widths(group)})"
        )
    low, high = bounds(group)
    outside = np.argwhere(~((tasks >= low) & (tasks <= high)))
    if len(outside):
        task, column = map(int, outside[0])
        raise Wrong(
            f"{what}: {component(group, column)} of task {task} is {tasks[task, column]:g}, its "
            f"bounds are {low[column]:g} to {high[column]:g}: draw within them, or widen them"
        )
    return tasks


CHECKS: tuple[Check[Probe], ...] = (
    Check("fields", fields),
    Check("time", time),
    Check("tasks", tasks, ("fields",)),
    Check("split", split, ("fields",)),
)
