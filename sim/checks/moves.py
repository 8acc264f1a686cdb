"""Checks of how a family's simulators move: by seed alone, whatever the batch and the threads.

Knows simulators and the single robot through their contract.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.checks.finding import Check, Wrong
from fieldtune.sim.checks.recorded import (
    COPIES,
    Probe,
    Record,
    component,
    first_difference,
    widths,
)
from fieldtune.sim.family import Array, BatchSimulator, bounds

OVERSHOOT = 0.1  # of a field's range, which sensors and soft limits may leave by
ALIKE = 0.02  # of what a field moved: how far the single robot may be from the simulator
SPEED_COPIES, SPEED_S = 64, 0.5


def shapes(probe: Probe) -> str:
    probe.whole  # noqa: B018 - is looked at while it is recorded
    seen = widths(probe.family.observation_fields)
    return f"an episode of {COPIES} copies under random actions, all finite: {seen}"


def seed(probe: Probe) -> str:
    again = _alone(probe, range(COPIES), probe.family.horizon)
    apart = first_difference(probe.family, again, probe.whole)
    if apart:
        raise Wrong(
            f"the same seeds, tasks and actions lead elsewhere: {apart}; start from "
            "np.random.default_rng(seed) alone, and reset all that is drawn from"
        )
    starts = probe.whole.observations[0]
    if (starts == starts[0]).all():
        return "the same for the same seed; every start is the same"
    return "the same for the same seed, to the bit; starts differ by seed"


def forgets(probe: Probe) -> str:
    simulator = probe.family.simulator(COPIES)
    try:
        first = probe.follow(simulator, range(COPIES), probe.brief)
        again = probe.follow(simulator, range(COPIES), probe.brief)
    finally:
        simulator.close()
    apart = first_difference(probe.family, again, first)
    if apart:
        raise Wrong(f"a second reset leads elsewhere: {apart}; reset all of the state")
    return "a second episode is as if there had been none before"


def batch(probe: Probe) -> str:
    groups = ([2], [COPIES - 1, 2, 0])
    simulators = [probe.family.simulator(len(copies)) for copies in groups]
    try:
        records = probe.side_by_side(list(zip(simulators, groups, strict=True)), probe.brief)
    finally:
        for simulator in simulators:
            simulator.close()
    for copies, record in zip(groups, records, strict=True):
        apart = first_difference(probe.family, record, probe.whole.of(copies, probe.brief))
        if apart:
            raise Wrong(
                f"copies {copies} of {COPIES} move otherwise without the others: {apart}; a copy "
                "must depend on its own seed, task and actions alone"
            )
    return "alone, in another order and beside another simulator: the same to the bit"


def threads(probe: Probe) -> str:
    record = _alone(probe, range(COPIES), probe.brief, threads=3)
    apart = first_difference(probe.family, record, probe.whole.of(range(COPIES), probe.brief))
    if apart:
        raise Wrong(f"with threads=3 copies move otherwise: {apart}; share nothing between copies")
    return "three threads: the same to the bit"


def termination(probe: Probe) -> str:
    seen, ended = probe.whole.observations[1:], probe.whole.terminated
    for copy in range(COPIES):
        over = np.flatnonzero(ended[:, copy])
        if not len(over):
            continue
        first = int(over[0])
        if not ended[first:, copy].all():
            raise Wrong(
                f"copy {copy} terminated at step {first + 1} and went on: say so until the reset"
            )
        moved = np.argwhere(seen[first:, copy] != seen[first, copy])
        if len(moved):
            raise Wrong(
                f"copy {copy} terminated at step {first + 1}, and "
                f"{component(probe.family.observation_fields, int(moved[0, 1]))} changed after it: "
                "a terminated copy keeps its last observation until the reset (does it reset "
                "itself?)"
            )
    count = int(ended.any(axis=0).sum())
    if not count:
        return "no copy terminated under random actions"
    return f"{count} of {COPIES} copies terminated, and kept their last observation"


def acting(probe: Probe) -> str:
    low, high = bounds(probe.family.action_fields)
    count, centre = len(low), (low + high) / 2
    held = np.repeat(centre[None], 2 * count, axis=0)
    for index in range(count):
        held[2 * index, index], held[2 * index + 1, index] = low[index], high[index]
    rows = np.zeros(2 * count, dtype=np.int64)
    seen = _held(probe, probe.seeds[rows], probe.tasks[rows], held, min(probe.brief, 5))[-1]
    for index in range(count):
        if np.array_equal(seen[2 * index], seen[2 * index + 1]):
            raise Wrong(
                f"action {component(probe.family.action_fields, index)} at {low[index]:g} and at "
                f"{high[index]:g} leads to the same: is it used, and in its unit?"
            )
    return "every component of an action changes what is seen"


def dynamics(probe: Probe) -> str:
    same = np.full(COPIES, probe.seeds[0])
    held = np.broadcast_to(probe.actions[0, 0], (COPIES, probe.actions.shape[-1]))
    seen = _held(probe, same, probe.tasks, held, probe.brief)
    alike = (seen[0] == seen[0][0]).all(axis=-1)
    apart = (seen[:, alike] != seen[:, :1]).any()
    if probe.family.dynamics_vary and not apart:
        raise Wrong(
            "dynamics_vary is true, but all tasks move alike: change the model by the task, or say "
            "false"
        )
    if apart and not probe.family.dynamics_vary:
        raise Wrong(
            "tasks that start alike move apart, but dynamics_vary is false: say true, so that the "
            "context holds s'"
        )
    return "differ by task" if apart else "the same for every task"


def declared(probe: Probe) -> str:
    group = probe.family.observation_fields
    low, high = bounds(group)
    seen = probe.whole.observations.reshape(-1, len(low))
    least, most = seen.min(axis=0), seen.max(axis=0)
    between = np.where(np.isfinite(high - low), high - low, np.maximum(np.abs(least), np.abs(most)))
    slack = OVERSHOOT * between
    outside = np.flatnonzero((least < low - slack) | (most > high + slack))
    if len(outside):
        index = int(outside[0])
        raise Wrong(
            f"{component(group, index)} went from {least[index]:.4g} to {most[index]:.4g}, its "
            f"bounds are {low[index]:.4g} to {high[index]:.4g}: widen them, or check its unit"
        )
    bounded = int((np.isfinite(low) | np.isfinite(high)).sum())
    if not bounded:
        return "no field has any"
    return f"random actions stay within them; {bounded} of {len(low)} numbers have some"


def single(probe: Probe) -> str:
    family, whole = probe.family, probe.whole
    moved = np.ptp(whole.observations.reshape(-1, whole.observations.shape[-1]), axis=0)
    starts = np.cumsum([0, *(field.width for field in family.observation_fields)])[:-1]
    by_field = np.maximum.reduceat(moved, starts)
    allowed = np.repeat(by_field, [f.width for f in family.observation_fields]) * ALIKE + 1e-9
    robot, furthest, where = family.single_robot(), 0.0, ""
    try:
        for copy in range(2):
            seen = robot.reset(int(probe.seeds[copy]), probe.tasks[copy].copy())
            for step in range(min(probe.brief, 10) + 1):
                expected = whole.observations[step, copy]
                if np.shape(seen) != expected.shape:
                    raise Wrong(
                        f"single_robot shows {list(np.shape(seen))}: expected "
                        f"{list(expected.shape)}, as the simulator"
                    )
                share = np.abs(seen - expected) / allowed
                if share.max() > furthest:
                    index = int(share.argmax())
                    furthest = float(share.max())
                    where = (
                        f"{component(family.observation_fields, index)} at step {step}: "
                        f"{seen[index]:.6g}, the simulator's {expected[index]:.6g}"
                    )
                if furthest > 1:
                    raise Wrong(f"single_robot leaves the simulator: {where}")
                if step and whole.terminated[step - 1, copy]:
                    break
                if step < min(probe.brief, 10):
                    seen, ended = robot.step(probe.actions[step, copy].copy())
                    if bool(ended) != bool(whole.terminated[step, copy]):
                        raise Wrong(f"single_robot and simulator differ in who ended at {step + 1}")
    finally:
        robot.close()
    return (
        f"moves as the simulator does{f', to {furthest * ALIKE:.0e} of a field' if where else ''}"
    )


def pictures(probe: Probe) -> str:
    robot = probe.family.single_robot()
    try:
        robot.reset(int(probe.seeds[0]), probe.tasks[0].copy())
        picture: NDArray[np.uint8] = np.asarray(robot.render(64, 48))
    except RuntimeError as error:
        return f"none on this machine: {error}"
    finally:
        robot.close()
    if picture.shape != (48, 64, 3) or picture.dtype != np.uint8:
        raise Wrong(
            f"render(64, 48) gives {picture.dtype} {list(picture.shape)}: expected uint8 "
            "[48, 64, 3], [height, width, RGB]"
        )
    if picture.max() == picture.min():
        raise Wrong("render(64, 48) is of one colour: is there a light, and is the camera on it?")
    return "the single robot draws itself"


def speed(probe: Probe) -> str:
    simulator = probe.family.simulator(SPEED_COPIES)
    rows = np.arange(SPEED_COPIES) % COPIES
    try:
        simulator.reset(np.arange(SPEED_COPIES), probe.tasks[rows])
        simulator.step(probe.actions[0, rows])
        started, steps = time.perf_counter(), 0
        while steps < probe.family.horizon - 1 and time.perf_counter() - started < SPEED_S:
            steps += 1
            simulator.step(probe.actions[steps, rows])
        took = time.perf_counter() - started
    finally:
        simulator.close()
    if not steps:
        return "an episode of one step is too short to say"
    return f"{steps * SPEED_COPIES / took:,.0f} steps/s ({SPEED_COPIES} copies, one thread)"


def _alone(probe: Probe, copies: range, steps: int, threads: int = 1) -> Record:
    simulator = probe.family.simulator(len(copies), threads)
    try:
        return probe.follow(simulator, copies, steps)
    finally:
        simulator.close()


def _held(
    probe: Probe, seeds: NDArray[np.int64], tasks: Array, actions: Array, steps: int
) -> Array:
    """Observations `(step, env, observation)` of copies that do the same for so many steps."""
    simulator: BatchSimulator = probe.family.simulator(len(seeds))
    try:
        seen = [np.array(simulator.reset(seeds, tasks))]
        for _ in range(steps):
            seen.append(np.array(simulator.step(np.array(actions))[0]))
    finally:
        simulator.close()
    return np.array(seen)


_MOVES = ("reset and step",)
CHECKS: tuple[Check[Probe], ...] = (
    Check("reset and step", shapes, ("fields", "time", "tasks")),
    Check("seed", seed, _MOVES),
    Check("second reset", forgets, _MOVES),
    Check("batch", batch, (*_MOVES, "seed")),
    Check("threads", threads, (*_MOVES, "seed")),
    Check("termination", termination, _MOVES),
    Check("actions", acting, _MOVES),
    Check("dynamics", dynamics, (*_MOVES, "seed")),
    Check("field bounds", declared, _MOVES),
    Check("single robot", single, _MOVES),
    Check("pictures", pictures, ("fields", "tasks")),
    Check("speed", speed, _MOVES),
)
