"""A run's labelled data in training units, as replays to draw from.

Knows how far a run's transitions look ahead; nothing of what is learned from them.
"""

from __future__ import annotations

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.normalisation import Normalised
from fieldtune.train.agent.units import return_discount, to_training_units
from fieldtune.train.config import AlgorithmSettings
from fieldtune.train.data.replay import Lookahead, Replay
from fieldtune.train.device import device_of
from fieldtune.train.runs.run import Run, RunError


def offline_replay(run: Run, trained: Normalised) -> Replay:
    """The training tasks' offline data in the training units of `trained`.

    Raises `RunError` where it needs returns of episodes that were thinned out.
    """
    _require_returns(run, trained)
    return filled_replay(trained, run.config.algorithm, run.dataset.train)


def held_out_replay(run: Run, trained: Normalised) -> Replay:
    """The held-out tasks' offline data: contexts to measure with, never trained on. Raises as
    `offline_replay`."""
    _require_returns(run, trained)
    return filled_replay(trained, run.config.algorithm, run.dataset.test)


def empty_replay(
    trained: Normalised, settings: AlgorithmSettings, tasks: int, steps: int
) -> Replay:
    """A replay without transitions, which will look ahead as the critic does, and to episodes' ends
    where `trained` asks for it.

    Args:
        trained: what decides the widths of observation and action, and where draws are given.
        settings: its `n_step` and discount say how far to look ahead.
        tasks: how many.
        steps: how many transitions there is room for, over all tasks.
    """
    constants = trained.normalisation
    sizes = len(constants.observation_mean), len(constants.action_centre)
    far = Lookahead(settings.n_step, settings.discount) if settings.n_step > 1 else None
    return Replay(tasks, steps, *sizes, far, device_of(trained), return_discount(trained))


def filled_replay(
    trained: Normalised, settings: AlgorithmSettings, data: list[list[LabelledEpisode]]
) -> Replay:
    """A replay of each task's episodes, in training units; it has no room for more.

    Args:
        trained: in whose training units.
        settings: its `n_step` and discount say how far to look ahead.
        data: `data[task]`, a task's episodes in physical units.
    """
    steps = sum(len(episode.actions) for episodes in data for episode in episodes)
    replay = empty_replay(trained, settings, len(data), steps)
    for task, episodes in enumerate(data):
        for episode in episodes:
            replay.add(task, to_training_units(trained, episode))
    return replay


def _require_returns(run: Run, trained: Normalised) -> None:
    if return_discount(trained) is not None and run.dataset.thinned:
        raise RunError(
            f"algorithm {run.config.algorithm.name!r} learns from Monte-Carlo returns, but "
            f"{run.config.data.path} has episodes with steps left out, whose rewards are not "
            "known: import them with every step (--stride 1)"
        )
