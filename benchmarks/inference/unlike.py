"""How often a task is called unlike those trained on: tasks kept back, trained on, and beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.inference.beliefs import Belief, explore
from benchmarks.inference.bench import NUMBERS, Bench
from benchmarks.inference.tables import Row, Table
from fieldtune.sim.family import Array

_TRAINED = 20  # tasks


def unlike(bench: Bench) -> Table:
    """Shares of contexts, and how far the median is from the threshold."""
    rows = [_row(bench, "kept back", bench.run.dataset.test_tasks)]
    rows.append(_row(bench, "trained on", bench.run.dataset.train_tasks[:_TRAINED]))
    beyond = BEYOND.get(bench.run.config.family)
    if beyond is not None:
        rows += [_row(bench, name, tasks) for name, tasks in beyond(bench)]
    return Table("Called unlike the tasks trained on", "contexts, %", rows, paired=False)


def _row(bench: Bench, name: str, tasks: Array) -> Row:
    there = bench.on(tasks)
    episodes, after = explore(there, Belief.of(there, bench.particles))
    cells, facts = {}, {}
    steps = torch.zeros(there.copies)
    for number, (episode, belief) in enumerate(zip(episodes, after, strict=True), 1):
        steps = steps + torch.tensor([float(one.reward.shape[1]) for one in episode])
        explained = belief.known.max(dim=1).values / steps
        if number in NUMBERS:
            called = 100.0 * (explained < bench.particles.unlike_below).double().numpy()
            cells[f"K = {number}"] = called.reshape(len(tasks), -1)
            far = float(explained.median()) / bench.particles.unlike_below
            facts[f"median of threshold, K = {number}"] = far
    there.evaluator.close()
    return Row.of(name, cells, facts)


Beyond = Iterator[tuple[str, Array]]


def _velocities(_: Bench) -> Beyond:
    """Trained on: 0 to 3 m/s."""
    for velocity in (-1.0, 3.5, 4.0, 5.0):
        yield f"{velocity:g} m/s".replace("-", "−"), np.full((5, 1), velocity)


def _targets(bench: Bench) -> Beyond:
    """Away from the middle of the targets trained on, along the way to each one kept back."""
    middle, kept = bench.run.dataset.train_tasks.mean(axis=0), bench.run.dataset.test_tasks
    for factor in (1.5, 2.0, 3.0):
        yield f"{factor:g} times as far from the middle", middle + factor * (kept - middle)


def _openings(_: Bench) -> Beyond:
    """Drawer and door; a share of the whole way, where 0.3 to 0.9 were trained on."""
    for opening in (-0.3, 0.05, 1.3):
        tasks = [[float(index % 2), opening] for index in range(6)]
        yield f"opening {opening:g}".replace("-", "−"), np.array(tasks)


BEYOND: dict[str, Callable[[Bench], Beyond]] = {
    "cheetah-vel": _velocities,
    "reach": _targets,
    "drawer-door": _openings,
}
