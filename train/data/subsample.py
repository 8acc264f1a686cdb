"""Keeping some transitions of an episode, each with what it really led to. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.doubled import origin


def thinned(episode: LabelledEpisode, kept: NDArray[np.int64]) -> LabelledEpisode:
    """`episode` with its steps `kept` `(step,)` only, at least one, in order; all: as it is.

    It is terminated if the step that ended it was kept.
    """
    if len(kept) == episode.steps:
        return episode
    following = episode.next_observations[kept]
    return replace(
        episode,
        observations=np.concatenate([episode.observations[kept], following[-1:]]),
        actions=episode.actions[kept],
        rewards=episode.rewards[kept],
        terminated=episode.terminated and bool(kept[-1] == episode.steps - 1),
        signals=None if episode.signals is None else episode.signals[kept],
        following=following,
        origin=origin(episode) if episode.origin is None else episode.origin,
    )
