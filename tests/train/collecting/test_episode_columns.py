"""Episodes come back from disk as they were, however their simulator laid them out in memory."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load, save

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.collecting.episode_columns import columns, episodes


def test_arrays_that_lie_column_by_column_are_written_row_by_row():
    rng = np.random.default_rng(0)
    episode = LabelledEpisode(
        task_index=0,
        observations=np.asfortranarray(rng.normal(size=(4, 5))),
        actions=rng.normal(size=(3, 4))[:, ::2],
        rewards=rng.normal(size=6)[::2],
        terminated=False,
        signals=np.asfortranarray(rng.normal(size=(3, 2))),
    )
    (back,) = episodes("", load(save(columns("", [episode]))))
    for name in ("observations", "actions", "rewards", "signals"):
        np.testing.assert_array_equal(getattr(back, name), getattr(episode, name))
