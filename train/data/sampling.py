"""What one update sees: a context h and an independent batch h' of each drawn task.

Knows the replays and how contexts are configured; not what is done with them.
"""

from __future__ import annotations

import numpy as np

from fieldtune.train.config import AlgorithmSettings, Context, Offline, SelfSupervised
from fieldtune.train.data.replay import Batch, Replay, concatenate


def draw_context(
    replay: Replay, rng: np.random.Generator, tasks: list[int], settings: Context
) -> Batch:
    """One context for each task, all of one length so that they stack.

    Args:
        replay: the labelled data.
        rng: of the length and of the draws.
        tasks: their numbers in `replay`, each of a task with data.
        settings: the range of lengths, and whether whole trajectories are drawn from.
    """
    size = int(rng.integers(settings.size[0], settings.size[1] + 1))
    trajectories = None
    if settings.source == "trajectories":
        trajectories = int(rng.integers(1, settings.trajectories + 1))
    return replay.context(rng, tasks, size, trajectories)


def draw_offline(
    replay: Replay, rng: np.random.Generator, settings: AlgorithmSettings, phase: Offline
) -> tuple[Batch, Batch]:
    """Phase 1: context and batch of a meta-batch of tasks, two independent draws.

    Args:
        replay: the training tasks' labelled data.
        rng: of the tasks and of the draws.
        settings: how many tasks, and how many transitions of each in the batch.
        phase: how contexts are drawn, and how many transitions of each task if not as many.
    """
    tasks = meta_batch(replay, rng, settings)
    context = draw_context(replay, rng, tasks, phase.context)
    return context, replay.transitions(rng, tasks, phase.batch or settings.batch)


def draw_episodes(
    replay: Replay,
    rng: np.random.Generator,
    settings: AlgorithmSettings,
    trials: int,
    episodes: int,
) -> tuple[Batch, Batch]:
    """Phase 1 from whole episodes: context and batch of a meta-batch of tasks, two independent
    draws, `(task · trial, transition, ...)`.

    Args:
        replay: the training tasks' labelled data.
        rng: of the tasks and of the draws.
        settings: how many tasks.
        trials: of each task.
        episodes: of a trial.
    """
    tasks = [task for task in meta_batch(replay, rng, settings) for _ in range(trials)]
    return replay.episodes(rng, tasks, episodes), replay.episodes(rng, tasks, episodes)


def draw_union(
    offline: Replay,
    labelled: Replay,
    rng: np.random.Generator,
    settings: AlgorithmSettings,
    phase: SelfSupervised,
    offline_context: Context | None = None,
) -> tuple[Batch, Batch]:
    """Phase 2: a fixed share of offline rows in each batch, and of contexts over updates.

    Args:
        offline: the training tasks' labelled data.
        labelled: labelled exploration, and where `phase` is pooled the offline data too; tasks are
            drawn from those that it has data of.
        rng: of the tasks and of the draws.
        settings: how many tasks, and how many transitions of each in the batch.
        phase: the share of offline data, and how contexts are drawn.
        offline_context: draw every context from offline data, and like this.

    Returns:
        Context and batch of the same tasks.
    """
    tasks = meta_batch(labelled, rng, settings)
    if offline_context is None:
        source = offline if rng.random() < phase.drawn_offline else labelled
        context = draw_context(source, rng, tasks, phase.context)
    else:
        context = draw_context(offline, rng, tasks, offline_context)
    rows = round(settings.batch * phase.drawn_offline)
    batch = concatenate(
        [
            offline.transitions(rng, tasks, rows),
            labelled.transitions(rng, tasks, settings.batch - rows),
        ]
    )
    return context, batch


def meta_batch(replay: Replay, rng: np.random.Generator, settings: AlgorithmSettings) -> list[int]:
    known, size = replay.tasks_with_data, settings.meta_batch
    if not settings.repeat_tasks:
        size = min(size, len(known))
    return [int(i) for i in rng.choice(known, size=size, replace=settings.repeat_tasks)]
