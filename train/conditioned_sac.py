"""Labelled data of mixed quality: a slice of the replay of one agent that is told the task.

Where tasks differ in the reward alone, each transition teaches every task, since its reward can be
computed for any of them; where they change the dynamics, it teaches its own. Knows families through
their contract; nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim.family import Array, TaskFamily, bounds, width
from sim.rollout import BATCH, LabelledEpisode, mean_return, rollout
from train.config import AgentReplay
from train.networks import Normalisation
from train.sac import TaskToldSac, ToldTransitions
from train.smac import seed_everything

UPDATE_ROWS = 256
UNIT_ROWS = 10_000  # rewards that their unit is taken from
OWN_SHARE = 0.5  # rows of an update that keep the task they were acted for
FULL_TURN = 360.0  # degrees
HELD_OUT = 1  # second word of the seeds of what is done for held-out tasks

OnProgress = Callable[[int, int, str], None]


class TooFewRounds(ValueError):
    """The agent would act in fewer episodes than the data is to have."""


@dataclass(frozen=True)
class AgentData:
    """What is kept of the run: episodes by split, and the mean return of every round."""

    train: list[LabelledEpisode]
    test: list[LabelledEpisode]
    return_by_round: list[float]


def collect_replay(
    family: TaskFamily,
    seed: int,
    episodes_per_task: int,
    settings: AgentReplay,
    on_progress: OnProgress = lambda *_: None,
) -> AgentData:
    """Train an agent that is told the task; keep episodes of every task from the whole of its run.

    A round is `BATCH` episodes of training tasks, then updates on all episodes so far. Of a task's
    own episodes, `episodes_per_task` are kept, evenly spread from the first round to the last.
    Held-out tasks are acted for at times spread in the same way; the agent never learns from them,
    so that the training tasks' data would be the same, bit for bit, without them.

    Args:
        family: what is told is its task.
        seed: everything follows from it.
        on_progress: told the episodes acted and learned from, those in all, and how it goes.

    Raises:
        TooFewRounds: before anything is simulated.
    """
    split = family.split()
    total = settings.rounds * BATCH
    if total < episodes_per_task * len(split.train):
        raise TooFewRounds(
            f"data.agent.rounds is {settings.rounds}: {total} episodes, but "
            f"data.episodes_per_task {episodes_per_task} × {len(split.train)} training tasks need "
            f"{episodes_per_task * len(split.train)}; set data.agent.rounds to "
            f"{-(-episodes_per_task * len(split.train) // BATCH)} or more"
        )
    rng = seed_everything(seed)
    agent = _Agent(family, split.train)
    order = _in_turns(rng, len(split.train), total).reshape(settings.rounds, BATCH)
    held_out_rounds = spread(episodes_per_task, settings.rounds)
    acted: list[LabelledEpisode] = []
    held_out: list[LabelledEpisode] = []
    returns: list[float] = []
    for index, tasks in enumerate(order):
        for turn in np.flatnonzero(held_out_rounds == index):
            apart = np.random.default_rng([seed, HELD_OUT, int(turn)])
            with torch.random.fork_rng():
                torch.manual_seed(int(apart.integers(2**31)))
                held_out += agent.episodes(split.test, np.arange(len(split.test)), apart)
        episodes = agent.episodes(split.train, tasks, rng)
        acted += episodes
        returns.append(mean_return(episodes))
        agent.remember(episodes, rng)
        note = f"return {returns[-1]:.0f}"
        for update in range(settings.updates_per_round):
            agent.learn(rng)
            learned = BATCH * (update + 1) // settings.updates_per_round
            on_progress(index * BATCH + learned, total, note)
    return AgentData(_slice(acted, episodes_per_task), _slice(held_out, episodes_per_task), returns)


def spread(kept: int, total: int) -> NDArray[np.int64]:
    """Which of `total` moments to keep, `(kept,)`: the middle of each of `kept` equal stretches."""
    return ((np.arange(kept) + 0.5) * total / kept).astype(np.int64)


def unwound(family: TaskFamily, tasks: Array) -> Array:
    """Tasks `(task, parameter)` as numbers that are near where tasks are alike.

    A direction on a full turn becomes its cosine and sine: 1° and 359° are neighbours.
    """
    columns: list[Array] = []
    ranges = [
        (f.unit, high - low)
        for f in family.task_fields
        for low, high in zip(f.low, f.high, strict=True)
    ]
    for (unit, reach), values in zip(ranges, tasks.T, strict=True):
        if unit == "degrees" and reach == FULL_TURN:
            columns += [np.cos(np.deg2rad(values)), np.sin(np.deg2rad(values))]
        else:
            columns.append(values)
    return np.stack(columns, axis=-1)


class _Drawn(NamedTuple):
    """Transitions in physical units, `(row, feature)`, each with a task that `rewards` are for."""

    observations: Array
    actions: Array
    rewards: Array
    next_observations: Array
    done: NDArray[np.float32]
    tasks: Array


class _Agent:
    """The learner, all that it has seen, and the change from physical units to its own."""

    def __init__(self, family: TaskFamily, tasks: Array) -> None:
        self._family, self._tasks = family, tasks
        self._action_bounds = bounds(family.action_fields)
        observed = width(family.observation_fields)
        numbers = unwound(family, tasks)
        self._sac = TaskToldSac(observed, len(self._action_bounds[0]), numbers.shape[1])
        deviation = numbers.std(axis=0)
        self._task_mean = numbers.mean(axis=0)
        self._task_std = np.where(deviation < 1e-6, 1.0, deviation)
        # An episode's T+1 observations follow each other, so that s' is the row after s.
        self._observations = np.empty((0, observed))
        self._rows = np.empty(0, np.int64)
        self._actions = np.empty((0, len(self._action_bounds[0])))
        self._signals = np.empty((0, width(family.signal_fields)))
        self._own = np.empty(0, np.int64)
        self._done = np.empty(0, np.float32)
        self._units = Normalisation.of(
            np.zeros((1, observed)), np.array([-1.0, 1.0]), *self._action_bounds
        )

    def episodes(
        self, tasks: Array, indices: NDArray[np.int64], rng: np.random.Generator
    ) -> list[LabelledEpisode]:
        """One episode for each of `indices` into `tasks` `(task, parameter)`, side by side."""
        chosen = tasks[indices]
        told = self._told(chosen)
        units = self._units

        def act(observations: Array) -> Array:
            squashed = self._sac.act(self._scaled(observations), told).double().numpy()
            return units.action_centre + units.action_half_range * squashed

        simulator = self._family.simulator(len(indices))
        try:
            seeds = rng.integers(2**31, size=len(indices))
            return rollout(simulator, self._family, act, seeds, chosen, indices.tolist())
        finally:
            simulator.close()

    def remember(self, episodes: Sequence[LabelledEpisode], rng: np.random.Generator) -> None:
        """Add to what is learned from, and take the units from all of it.

        The networks then learn in the new units before they act again.
        """
        start = len(self._observations)
        for episode in episodes:
            self._rows = np.append(self._rows, np.arange(start, start + episode.steps))
            start += episode.steps + 1
        self._observations = np.concatenate(
            [self._observations, *(episode.observations for episode in episodes)]
        )
        self._actions = np.concatenate([self._actions, *(episode.actions for episode in episodes)])
        measured = [episode.signals for episode in episodes if episode.signals is not None]
        self._signals = np.concatenate([self._signals, *measured])
        own = [np.full(episode.steps, episode.task_index) for episode in episodes]
        self._own = np.concatenate([self._own, *own])
        done = [(np.arange(e.steps) == e.steps - 1) & e.terminated for e in episodes]
        self._done = np.concatenate([self._done, *done]).astype(np.float32)
        rewards = self._draw(rng, UNIT_ROWS).rewards
        self._units = Normalisation.of(self._observations, rewards, *self._action_bounds)

    def learn(self, rng: np.random.Generator) -> None:
        """One update on rows of any task, a share of them relabelled for a random training task
        where tasks share their dynamics."""
        drawn, units = self._draw(rng, UPDATE_ROWS), self._units
        self._sac.update(
            ToldTransitions(
                observation=self._scaled(drawn.observations),
                action=_tensor((drawn.actions - units.action_centre) / units.action_half_range),
                reward=_tensor(drawn.rewards / units.reward_std),
                next_observation=self._scaled(drawn.next_observations),
                done=torch.from_numpy(drawn.done),
                task=self._told(drawn.tasks),
            )
        )

    def _draw(self, rng: np.random.Generator, n: int) -> _Drawn:
        rows = rng.integers(len(self._rows), size=n)
        others = rng.integers(len(self._tasks), size=n)
        relabelled = rng.random(n) >= (1.0 if self._family.dynamics_vary else OWN_SHARE)
        tasks = self._tasks[np.where(relabelled, others, self._own[rows])]
        now, actions = self._rows[rows], self._actions[rows]
        observations, following = self._observations[now], self._observations[now + 1]
        signals = self._signals[rows] if self._family.signal_fields else None
        rewards = self._family.reward(observations, actions, following, tasks, signals)
        return _Drawn(observations, actions, rewards, following, self._done[rows], tasks)

    def _scaled(self, observations: Array) -> Tensor:
        return _tensor((observations - self._units.observation_mean) / self._units.observation_std)

    def _told(self, tasks: Array) -> Tensor:
        return _tensor((unwound(self._family, tasks) - self._task_mean) / self._task_std)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _in_turns(rng: np.random.Generator, tasks: int, total: int) -> NDArray[np.int64]:
    """`total` task indices: every task once in random order, then all again in another."""
    cycles = [rng.permutation(tasks) for _ in range(-(-total // tasks))]
    return np.concatenate(cycles)[:total]


def _slice(acted: Sequence[LabelledEpisode], kept: int) -> list[LabelledEpisode]:
    """`kept` episodes of each task, task by task, in the order in which they were acted."""
    by_task: dict[int, list[LabelledEpisode]] = {}
    for episode in acted:
        by_task.setdefault(episode.task_index, []).append(episode)
    return [
        episodes[moment]
        for _, episodes in sorted(by_task.items())
        for moment in spread(kept, len(episodes))
    ]
