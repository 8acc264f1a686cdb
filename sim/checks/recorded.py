"""Random actions in a family's simulator, recorded: what the checks of movement and reward look at.

Knows the contract of simulators; judges nothing but what a simulator hands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.checks.finding import Wrong
from fieldtune.sim.family import Array, BatchSimulator, Field, TaskFamily, bounds, width

COPIES = 8
BRIEF = 25  # steps: enough for copies that differ to show it


@dataclass(frozen=True)
class Record:
    """What copies went through, `(step, env, ...)`; `observations` has one step more."""

    observations: Array
    signals: Array
    terminated: NDArray[np.bool_]

    def of(self, copies: Sequence[int], steps: int) -> Record:
        """Some of the copies, up to a step."""
        chosen = list(copies)
        return Record(
            self.observations[: steps + 1, chosen],
            self.signals[:steps, chosen],
            self.terminated[:steps, chosen],
        )


class Probe:
    """A family under test: seeds, tasks and random actions, and what they lead to."""

    def __init__(self, family: TaskFamily) -> None:
        self.family = family

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        return np.arange(COPIES) + 100

    @cached_property
    def tasks(self) -> Array:
        """`(env, parameter)`."""
        return self.family.sample_tasks(7, COPIES)

    @cached_property
    def actions(self) -> Array:
        """Of one episode, `(step, env, action)`."""
        low, high = bounds(self.family.action_fields)
        rng = np.random.default_rng(0)
        return rng.uniform(low, high, (self.family.horizon, COPIES, len(low)))

    @cached_property
    def whole(self) -> Record:
        """One episode of every copy, to the horizon."""
        simulator = self.family.simulator(COPIES)
        try:
            return self.follow(simulator, range(COPIES), self.family.horizon)
        finally:
            simulator.close()

    @property
    def brief(self) -> int:
        return min(BRIEF, self.family.horizon)

    def follow(self, simulator: BatchSimulator, copies: Sequence[int], steps: int) -> Record:
        """Reset `simulator`, which has as many copies, and let it do what those of `whole` do."""
        (record,) = self.side_by_side([(simulator, copies)], steps)
        return record

    def side_by_side(
        self, batches: Sequence[tuple[BatchSimulator, Sequence[int]]], steps: int
    ) -> list[Record]:
        """As `follow`, of several simulators that take turns at every step."""
        takes = [_Take(self, simulator, list(copies)) for simulator, copies in batches]
        for step in range(steps):
            for take in takes:
                take.step(step)
        return [take.record() for take in takes]

    @cached_property
    def transitions(self) -> tuple[Array, Array, Array, Array, Array]:
        """s, a, s', task and signals of the steps of `whole` in which something happened."""
        whole = self.whole
        before = np.zeros_like(whole.terminated)
        before[1:] = whole.terminated[:-1]
        alive = ~before
        tasks = np.broadcast_to(self.tasks, (*alive.shape, self.tasks.shape[-1]))
        parts = (
            whole.observations[:-1],
            self.actions[: len(alive)],
            whole.observations[1:],
            tasks,
            whole.signals,
        )
        chosen = np.flatnonzero(alive.ravel())[:: max(1, int(alive.sum()) // 200)]
        s, a, after, task, signals = (
            part.reshape(alive.size, part.shape[-1])[chosen].copy() for part in parts
        )
        return s, a, after, task, signals


class _Take:
    """One simulator's part of a recording."""

    def __init__(self, probe: Probe, simulator: BatchSimulator, copies: list[int]) -> None:
        self._family, self._simulator = probe.family, simulator
        self._actions = probe.actions[:, copies]
        self._copies = len(copies)
        self._signals: list[Array] = []
        self._terminated: list[NDArray[np.bool_]] = []
        first = simulator.reset(probe.seeds[copies].copy(), probe.tasks[copies].copy())
        self._given = [self._sound(first, "reset")]
        self._kept = [np.array(first)]

    def step(self, index: int) -> None:
        seen, terminated = self._simulator.step(self._actions[index].copy())
        self._given.append(self._sound(seen, "step"))
        self._kept.append(np.array(seen))
        ended = np.asarray(terminated)
        if ended.shape != (self._copies,) or ended.dtype != np.bool_:
            raise Wrong(
                f"step gives {ended.dtype} {list(ended.shape)} for what terminated: expected bool "
                f"[{self._copies}], one of each copy"
            )
        self._terminated.append(ended.copy())
        measured, expected = width(self._family.signal_fields), self._copies
        signals = np.array(self._simulator.signals())
        if measured == 0:
            signals = np.zeros((expected, 0))
        if signals.shape != (expected, measured):
            raise Wrong(
                f"signals() gives {list(signals.shape)}: expected {[expected, measured]} by "
                "signal_fields"
            )
        self._signals.append(signals)

    def record(self) -> Record:
        for step, (given, kept) in enumerate(zip(self._given, self._kept, strict=True)):
            if not np.array_equal(given, kept, equal_nan=True):
                raise Wrong(
                    f"the observation of step {step} changed after it was given: the simulator "
                    "hands out its own array and writes to it again; return a copy"
                )
        return Record(
            np.array(self._kept),
            np.array(self._signals).reshape(len(self._terminated), self._copies, -1),
            np.array(self._terminated),
        )

    def _sound(self, seen: Array, by: str) -> Array:
        found = np.asarray(seen)
        expected = (self._copies, width(self._family.observation_fields))
        if found.shape != expected or found.dtype.kind != "f":
            raise Wrong(
                f"{by} gives observations {found.dtype} {list(found.shape)}: expected float "
                f"{list(expected)}, [copy, number] by observation_fields "
                f"({widths(self._family.observation_fields)})"
            )
        if not np.isfinite(found).all():
            copy, column = np.argwhere(~np.isfinite(found))[0]
            raise Wrong(
                f"{by}: {component(self._family.observation_fields, int(column))} of copy {copy} "
                f"is {found[copy, column]}: make the simulation stable, or end the episode before"
            )
        return seen


def widths(fields: tuple[Field, ...]) -> str:
    """Fields for a person: `joint_position 7, …`."""
    return ", ".join(f"{field.name} {field.width}" for field in fields) or "none"


def component(fields: tuple[Field, ...], index: int) -> str:
    """The component `index` of all fields, as a person writes it."""
    for field in fields:
        if index < field.width:
            return f"{field.name}[{index}]" if field.width > 1 else field.name
        index -= field.width
    raise IndexError(index)


def first_difference(family: TaskFamily, one: Record, other: Record) -> str:
    """Where two records of the same copies differ first; empty where they do not."""
    for what, fields, left, right in (
        ("observation", family.observation_fields, one.observations, other.observations),
        ("signal", family.signal_fields, one.signals, other.signals),
    ):
        apart = np.argwhere(left != right)
        if len(apart):
            step, copy, column = map(int, apart[0])
            return (
                f"{what} {component(fields, column)} of copy {copy} at step {step} is "
                f"{left[step, copy, column]:.17g}, not {right[step, copy, column]:.17g}"
            )
    ended = np.argwhere(one.terminated != other.terminated)
    if len(ended):
        step, copy = map(int, ended[0])
        return f"copy {copy} {'' if one.terminated[step, copy] else 'not '}terminated at {step + 1}"
    return ""
