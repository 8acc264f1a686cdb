"""A robot's episode as training data: which of its numbers are observation, action and signal.

Pure. Knows what a robot records; not where episodes are from, nor what is learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.episodes.episode import EndReason, Episode
from fieldtune.sim.rollout import LabelledEpisode


def as_trajectory(episode: Episode) -> LabelledEpisode:
    """A robot's episode as training data: the *applied* actions, rewards unknown (NaN)."""
    observations, actions = columns(episode)
    return LabelledEpisode(
        task_index=-1,
        observations=np.array(observations),
        actions=np.array(actions),
        rewards=np.full(len(actions), np.nan),
        terminated=episode.footer.end_reason is EndReason.TERMINATED,
        signals=_signals(episode, len(actions)),
    )


def columns(episode: Episode) -> tuple[list[list[float]], list[list[float]]]:
    """Observations `(T+1)` and applied actions `(T)`; without the last step where nobody saw what
    it led to."""
    observations = [step.observation for step in episode.steps]
    actions = [step.applied for step in episode.steps]
    footer = episode.footer
    if footer.end_reason is EndReason.INTERRUPTED or not footer.final_observation:
        return observations, actions[:-1]
    return [*observations, footer.final_observation], actions


def _signals(episode: Episode, transitions: int) -> NDArray[np.float64] | None:
    """What each transition's reward needs besides, `(T, signal)`; None where nobody measured it.

    A step holds what was measured on the way *to* it. Signals are not learned from, so that one
    that is no number does not cost the episode.
    """
    rows = [*(step.signals for step in episode.steps[1:]), episode.footer.final_signals]
    known = [row for row in rows[:transitions] if isinstance(row, list)]
    whole = len(known) == transitions and len({len(row) for row in known}) == 1
    signals = np.array(known) if whole else np.empty(0)
    return signals if whole and np.isfinite(signals).all() else None
