"""A run's moving picture: opened, adapted and filmed (`fieldtune.train.reports.moving_picture`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import Acting, Adaptive
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.reports.moving_picture import Shot, shoot
from fieldtune.train.runs.added_decoder import decoded
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline, averaged


def film_run(
    run: Run,
    phase: Literal["before", "after"],
    task: Array,
    episodes: int,
    every: int,
    size: int,
    progress: Callable[[int, int], object],
) -> list[Shot]:
    """Film `task` `(parameter,)` by the run's own inference, before or after phase 2.

    Args:
        run: trained.
        episodes: of exploration.
        every, size, progress: of `shoot`.

    Raises:
        NoPicture: this machine cannot render.
        CheckpointError: the phase is not trained.
        RunError: the likelihood is to infer, and the run's algorithm has no place for a decoder.
    """
    trained = after_offline(run) if phase == "before" else averaged(run, run.finetune_checkpoint)
    sampling = run.config.inference == "likelihood"
    return shoot(
        inferring_by_likelihood(run, trained) if sampling else trained,
        run.family,
        task,
        exploration_episodes=episodes,
        posterior_sampling=sampling,
        exploring=Acting.with_rewards(run.config.robot.exploration),
        seed=run.config.seed,
        every=every,
        size=size,
        progress=progress,
    )


def inferring_by_likelihood(run: Run, trained: Algorithm) -> Adaptive:
    """`trained` as its run's robots infer with it where they weigh particles.

    Raises:
        RunError: the run's algorithm has no place for a decoder.
    """
    return by_likelihood(run, decoded(run, trained).agent, offline_replay(run, trained))
