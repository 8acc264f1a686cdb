"""Labelled data of mixed quality: a slice of the replay of one agent that is told the task.

Where tasks differ in the reward alone, each transition teaches every task, since its reward can be
computed for any of them; where they change the dynamics, it teaches its own. Knows families through
their contract; of files only that there is an `ResumableCollection` to keep rounds in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.rollout import BATCH, LabelledEpisode, mean_return
from fieldtune.train.collecting.resumable import ResumableCollection, Round
from fieldtune.train.collecting.told_agent import ToldAgent
from fieldtune.train.config import AgentReplay, Slice
from fieldtune.train.device import random_state_kept
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.readings import numbers
from fieldtune.train.runs.seeds import seed_everything

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
    agent = ToldAgent(family, split.train, total, settings, threads)
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
