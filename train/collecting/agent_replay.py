"""Labelled data of mixed quality: a slice of the replay of one agent that is told the task.

Where tasks differ in the reward alone, each transition teaches every task, since its reward can be
computed for any of them; where they change the dynamics, it teaches its own. Knows families through
their contract; of files only that there is an `ResumableCollection` to keep rounds in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.family import Array, TaskFamily, bounds, width
from fieldtune.sim.rollout import BATCH, LabelledEpisode, mean_return, rollout
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Checkpointable, Metrics
from fieldtune.train.algorithms.task_conditioned_sac import (
    TaskConditionedSac,
    TaskConditionedTransitions,
)
from fieldtune.train.collecting.episode_buffer import EpisodeBuffer, Transitions
from fieldtune.train.collecting.resumable import ResumableCollection, Round
from fieldtune.train.config import AgentReplay, Slice
from fieldtune.train.data.task_numbers import unwound
from fieldtune.train.device import from_numpy, random_state_kept, to_numpy
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.readings import numbers
from fieldtune.train.runs.seeds import seed_everything

UPDATE_ROWS = 256
UNIT_ROWS = 10_000  # rewards that their unit is taken from
OWN_SHARE = 0.5  # rows of an update that keep the task they were acted for
UNITS = ("observation_mean", "observation_std", "reward_mean", "reward_std")
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


def check_rounds(family: TaskFamily, episodes_per_task: int, settings: AgentReplay) -> None:
    """Check that the agent acts in as many episodes as the data is to have.

    Args:
        family: whose training tasks the data is for.
        episodes_per_task: that are kept of each of them.
        settings: how many rounds of `BATCH` episodes the agent acts.

    Raises:
        TooFewRounds: it does not; names the key and the least value.
    """
    needed = episodes_per_task * len(family.split().train)
    total = settings.rounds * BATCH
    if total < needed:
        raise TooFewRounds(
            f"data.agent.rounds is {settings.rounds}: {total} episodes, but "
            f"data.episodes_per_task {episodes_per_task} × {len(family.split().train)} training "
            f"tasks need {needed}; set data.agent.rounds to {-(-needed // BATCH)} or more"
        )


def collect_replay(
    family: TaskFamily,
    seed: int,
    episodes_per_task: int,
    settings: AgentReplay,
    on_progress: OnProgress = lambda *_: None,
    kept: ResumableCollection | None = None,
    threads: int = 1,
) -> AgentData:
    """Train an agent that is told the task; keep episodes of every task from the whole of its run.

    A round is `BATCH` episodes of training tasks, then updates on all episodes so far. Of a task's
    own episodes, `episodes_per_task` are kept: `settings.slice` says from when. Held-out tasks are
    acted for at times chosen in the same way; the agent never learns from them, so that the
    training tasks' data would be the same, bit for bit, without them.

    Args:
        family: what is told is its task.
        seed: everything follows from it.
        on_progress: told the episodes acted and learned from, those in all, and how it goes.
        kept: every round is saved there when it is done, and those that are there already are not
            done again; the data are the same, bit for bit.
        threads: simulator threads; they change no bit.

    Raises:
        TooFewRounds: before anything is simulated.
        CannotResume, CheckpointError: what `kept` holds cannot be gone on from.
        TrainingDiverged: with the round, the update and the loss; what is kept stays.
    """
    check_rounds(family, episodes_per_task, settings)
    split = family.split()
    total = settings.rounds * BATCH
    rng = seed_everything(seed)
    agent = _Agent(family, split.train, total, settings, threads)
    order = _in_turns(rng, len(split.train), total).reshape(settings.rounds, BATCH)
    held_out_rounds = moments(episodes_per_task, settings.rounds, settings.slice)
    held_out: list[LabelledEpisode] = []
    returns: list[float] = []

    def count(done: Round) -> None:
        held_out.extend(done.held_out)
        returns.append(mean_return(done.acted))

    watch = Watch(
        None if kept is None else kept.learner_file,
        "data.agent.learning_rate",
        settings.learning_rate,
        anew="beginning again",
        counted="rounds",
    )
    first = kept.rounds() if kept is not None else 0
    if kept is not None and first:
        for index in range(first):
            before = kept.read(index)
            agent.buffer.add(before.acted)
            count(before)
        agent.restore_units(kept.load(agent.learner, rng))
        on_progress(first * BATCH, total, f"return {returns[-1]:.0f}")
    for index in range(first, settings.rounds):
        apart: list[LabelledEpisode] = []
        for turn in np.flatnonzero(held_out_rounds == index):
            draws = np.random.default_rng([seed, HELD_OUT, int(turn)])
            with random_state_kept():
                torch.manual_seed(int(draws.integers(2**31)))
                apart += agent.episodes(split.test, np.arange(len(split.test)), draws)
        done = Round(agent.episodes(split.train, order[index], rng), apart)
        count(done)
        agent.remember(done.acted, rng)
        note = f"return {returns[-1]:.0f}"
        for update in range(settings.updates_per_round):
            watch.look(update + 1, numbers(agent.learn(rng)), f"round {index + 1}, ")
            learned = BATCH * (update + 1) // settings.updates_per_round
            on_progress(index * BATCH + learned, total, note)
        if kept is not None:
            kept.save(index, done, agent.learner, rng, agent.units())
    return AgentData(
        _slice(agent.buffer.episodes(), episodes_per_task, settings.slice),
        _slice(held_out, episodes_per_task, settings.slice),
        returns,
    )


def moments(kept: int, total: int, part: Slice) -> NDArray[np.int64]:
    """Which of `total` moments to keep, `(kept,)`.

    Args:
        kept: how many.
        total: how many there are, counted from 0.
        part: `whole` takes the middle of each of `kept` equal stretches; `end` the last ones, and
            where there are fewer than `kept`, each equally often, give or take one.
    """
    if part == "end":
        total, first = min(kept, total), max(0, total - kept)
        return first + (np.arange(kept) * total // kept)
    return ((np.arange(kept) + 0.5) * total / kept).astype(np.int64)


class _Drawn(NamedTuple):
    """Transitions in physical units, with tasks `(row, parameter)` that `rewards` are for."""

    transitions: Transitions
    tasks: Array
    rewards: Array


class _Agent:
    """The learner, its replay, and the change from physical units to its own."""

    def __init__(
        self,
        family: TaskFamily,
        tasks: Array,
        episodes: int,
        settings: AgentReplay,
        threads: int,
    ) -> None:
        self._family, self._tasks, self._threads = family, tasks, threads
        self._action_bounds = bounds(family.action_fields)
        observed = width(family.observation_fields)
        numbers = unwound(family, tasks)
        self._sac = TaskConditionedSac(
            observed,
            len(self._action_bounds[0]),
            numbers.shape[1],
            settings.hidden,
            settings.learning_rate,
            settings.discount,
        )
        deviation = numbers.std(axis=0)
        self._task_mean = numbers.mean(axis=0)
        same = deviation <= 1e-9 * np.abs(numbers).max(axis=0)  # whatever its unit
        self._task_std = np.where(same, 1.0, deviation)
        self.buffer = EpisodeBuffer(family, episodes)
        self._units = Normalisation.of(
            np.zeros((1, observed)), np.array([-1.0, 1.0]), *self._action_bounds
        )

    @property
    def learner(self) -> Checkpointable:
        """What has learned: its networks and optimisers."""
        return self._sac

    def units(self) -> dict[str, NDArray[Any]]:
        """Those of its constants that come from what it has seen, for a checkpoint."""
        return {name: np.asarray(getattr(self._units, name)) for name in UNITS}

    def restore_units(self, known: Mapping[str, NDArray[Any]]) -> None:
        """The constants that `units` gave."""
        self._units = replace(
            self._units,
            observation_mean=known["observation_mean"],
            observation_std=known["observation_std"],
            reward_mean=float(known["reward_mean"]),
            reward_std=float(known["reward_std"]),
        )

    def episodes(
        self, tasks: Array, indices: NDArray[np.int64], rng: np.random.Generator
    ) -> list[LabelledEpisode]:
        """One episode for each of `indices` into `tasks` `(task, parameter)`, side by side."""
        chosen = tasks[indices]
        conditions = self._task_input(chosen)
        units = self._units

        def act(observations: Array) -> Array:
            squashed = to_numpy(self._sac.act(self._scaled(observations), conditions).double())
            return units.action_centre + units.action_half_range * squashed

        simulator = self._family.simulator(len(indices), self._threads)
        try:
            seeds = rng.integers(2**31, size=len(indices))
            return rollout(simulator, self._family, act, seeds, chosen, indices.tolist())
        finally:
            simulator.close()

    def remember(self, episodes: Sequence[LabelledEpisode], rng: np.random.Generator) -> None:
        """Add to what is learned from, and take the units from all of it.

        The networks then learn in the new units before they act again.
        """
        self.buffer.add(episodes)
        rewards = self._draw(rng, UNIT_ROWS).rewards
        self._units = Normalisation.of(self.buffer.observations, rewards, *self._action_bounds)

    def learn(self, rng: np.random.Generator) -> Metrics:
        """One update on rows of any task, a share of them relabelled for a random training task
        where tasks share their dynamics."""
        drawn, units = self._draw(rng, UPDATE_ROWS), self._units
        rows = drawn.transitions
        return self._sac.update(
            TaskConditionedTransitions(
                observation=self._scaled(rows.observations),
                action=_tensor((rows.actions - units.action_centre) / units.action_half_range),
                reward=_tensor(drawn.rewards / units.reward_std),
                next_observation=self._scaled(rows.next_observations),
                done=from_numpy(rows.done),
                task=self._task_input(drawn.tasks),
            )
        )

    def _draw(self, rng: np.random.Generator, n: int) -> _Drawn:
        rows = rng.integers(self.buffer.rows, size=n)
        others = rng.integers(len(self._tasks), size=n)
        relabelled = rng.random(n) >= (1.0 if self._family.dynamics_vary else OWN_SHARE)
        taken = self.buffer.take(rows)
        tasks = self._tasks[np.where(relabelled, others, taken.task_index)]
        rewards = self._family.reward(
            taken.observations, taken.actions, taken.next_observations, tasks, taken.signals
        )
        return _Drawn(taken, tasks, rewards)

    def _scaled(self, observations: Array) -> Tensor:
        return _tensor((observations - self._units.observation_mean) / self._units.observation_std)

    def _task_input(self, tasks: Array) -> Tensor:
        return _tensor((unwound(self._family, tasks) - self._task_mean) / self._task_std)


def _tensor(array: Array) -> Tensor:
    return from_numpy(array.astype(np.float32))


def _in_turns(rng: np.random.Generator, tasks: int, total: int) -> NDArray[np.int64]:
    """`total` task indices: every task once in random order, then all again in another."""
    cycles = [rng.permutation(tasks) for _ in range(-(-total // tasks))]
    return np.concatenate(cycles)[:total]


def _slice(acted: Sequence[LabelledEpisode], kept: int, part: Slice) -> list[LabelledEpisode]:
    """`kept` episodes of each task, task by task, in the order in which they were acted."""
    by_task: dict[int, list[LabelledEpisode]] = {}
    for episode in acted:
        by_task.setdefault(episode.task_index, []).append(episode)
    return [
        episodes[moment]
        for _, episodes in sorted(by_task.items())
        for moment in moments(kept, len(episodes), part)
    ]
