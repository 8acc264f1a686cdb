"""Checks of a family's reward, and of the script that makes its data.

Knows the reward's contract: a pure function of arrays whose leading dimensions broadcast.
"""

from __future__ import annotations

import numpy as np

from fieldtune.sim.checks.finding import Check, Wrong
from fieldtune.sim.checks.recorded import Probe, widths
from fieldtune.sim.family import Array, MissingSignals
from fieldtune.sim.rollout import random_return
from fieldtune.sim.scripted import scripted

CLOSE = 1e-9


def vectorised(probe: Probe) -> str:
    s, a, after, task, signals = probe.transitions
    given = [part.copy() for part in (s, a, after, task, signals)]
    paid = _reward(probe, s, a, after, task, signals)
    _shaped("(k, number)", paid, (len(s),))
    if not np.isfinite(paid).all():
        raise Wrong(f"the reward of {int((~np.isfinite(paid)).sum())} transitions is not finite")
    for before, part in zip(given, (s, a, after, task, signals), strict=True):
        if not np.array_equal(before, part):
            raise Wrong("reward writes into its arguments: compute on copies")
    if not np.array_equal(paid, _reward(probe, s, a, after, task, signals)):
        raise Wrong("reward gives another answer when asked again: draw nothing in it")
    for index in (0, len(s) - 1):
        row = s[index], a[index], after[index], task[index], signals[index]
        one = _reward(probe, *row)
        _shaped("(number,)", one, ())
        _same("one transition by itself", one, paid[index])
    several = probe.tasks[:3]
    every = _reward(probe, s, a, after, several[:, None], signals)
    _shaped("a task of (m, 1, number) and s of (k, number)", every, (len(several), len(s)))
    for index, other in enumerate(several):
        _same("one of several tasks", every[index], _reward(probe, s, a, after, other, signals))
    return f"a pure function that broadcasts, {paid.min():.4g} to {paid.max():.4g} at random"


def claims(probe: Probe) -> str:
    low, high = probe.family.reward_bounds
    if not low < high:
        raise Wrong(f"reward_bounds are {low} and {high}: expected the least and the most")
    paid = _of_every_task(probe)
    if paid.min() < low or paid.max() > high:
        raise Wrong(
            f"rewards go from {paid.min():.6g} to {paid.max():.6g}, reward_bounds say {low:g} to "
            f"{high:g}: say what holds, or infinity"
        )
    least = probe.family.success_reward
    if least is not None and not low < least <= high:
        raise Wrong(
            f"success_reward is {least:g}, reward_bounds say {low:g} to {high:g}, so that every "
            "episode would succeed, or none: say what a step pays at least that ends in success"
        )
    if not probe.family.sparse_reward:
        success = "" if least is None else f"; {np.mean(paid >= least):.1%} of steps are success"
        return f"within reward_bounds, {low:g} to {high:g}{success}"
    other = paid[(paid != 0.0) & (paid != -1.0)]
    if len(other):
        raise Wrong(
            f"sparse_reward is true, but a reward is {other[0]:.6g}: pay 0 in success and -1 "
            "elsewhere, or say false"
        )
    return f"0 or -1, as sparse_reward says; {np.mean(paid == 0.0):.1%} of steps are success"


def of_tasks(probe: Probe) -> str:
    if probe.family.dynamics_vary:
        return "not asked: tasks differ in their dynamics"
    s, a, after, _, signals = probe.transitions
    every = _reward(probe, s, a, after, probe.tasks[:, None], signals)
    if (every != every[:1]).any():
        return "tasks pay differently for the same transition"
    if probe.family.sparse_reward:
        return "nothing to see: no random action succeeds at any task"
    raise Wrong(
        "every task pays the same for every transition: nothing would tell tasks apart; let the "
        "reward depend on the task"
    )


def of_signals(probe: Probe) -> str:
    family = probe.family
    if not family.signal_fields:
        return "none are needed"
    s, a, after, task, _ = probe.transitions
    try:
        family.reward(s, a, after, task, None)
    except MissingSignals:
        return f"{widths(family.signal_fields)}; refused without"
    raise Wrong(
        "a reward without its signals is not refused: begin with "
        "require_signals(self.name, self.signal_fields, signals)"
    )


def script(probe: Probe) -> str:
    family, found = probe.family, scripted(probe.family)
    if found is None:
        return "none: the data come from an agent that is told the task"
    tasks = family.split().train
    jobs = [(0, 0), (min(1, len(tasks) - 1), 3), (0, 4)]
    together = found.collect_scripted(family, 3, tasks, jobs)
    (alone,) = found.collect_scripted(family, 3, tasks, jobs[1:2])
    if len(together) != len(jobs) or [one.task_index for one in together] != [j[0] for j in jobs]:
        raise Wrong("collect_scripted gives other episodes than its jobs: one of each, in order")
    if not (
        np.array_equal(together[1].observations, alone.observations)
        and np.array_equal(together[1].actions, alone.actions)
    ):
        raise Wrong(
            "an episode of collect_scripted differs with the jobs beside it: decide it by seed, "
            "task and episode alone"
        )
    asked, seeds = tasks[:4], np.arange(2)
    told = found.scripted_return(family, asked, seeds)
    random = random_return(family, asked, seeds)
    if not told > random:
        raise Wrong(
            f"told the task, the script's return is {told:.4g}, and {random:.4g} at random: it "
            "does not do the task"
        )
    return f"return {told:.4g} told the task, {random:.4g} at random"


def _of_every_task(probe: Probe) -> Array:
    s, a, after, _, signals = probe.transitions
    known = probe.family.split()
    tasks = np.concatenate([known.train, known.test])
    return _reward(probe, s, a, after, tasks[:, None], signals)


def _reward(probe: Probe, s: Array, a: Array, after: Array, task: Array, signals: Array) -> Array:
    measured = signals if probe.family.signal_fields else None
    return np.asarray(probe.family.reward(s, a, after, task, measured))


def _shaped(given: str, found: Array, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise Wrong(
            f"for {given} reward gives {list(found.shape)}: expected {list(expected)}; take the "
            "last dimension as the feature (x[..., 0]) and let the others broadcast"
        )


def _same(what: str, found: Array, expected: Array) -> None:
    if not np.allclose(found, expected, rtol=CLOSE, atol=CLOSE):
        raise Wrong(
            f"reward of {what} is not what it is among others: it must look at its own row alone"
        )


_MOVES = ("reset and step",)
CHECKS: tuple[Check[Probe], ...] = (
    Check("reward", vectorised, _MOVES),
    Check("reward's claims", claims, (*_MOVES, "reward", "split")),
    Check("reward by task", of_tasks, (*_MOVES, "reward")),
    Check("signals", of_signals, (*_MOVES, "reward")),
    Check("script", script, (*_MOVES, "reward", "split")),
)
