"""The clone learns what was done, and does for each task what was done for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.imitation import Clone
from fieldtune.sim.family import bounds, width
from fieldtune.sim.registry import family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.runs.config_file import load_config

ROOT = Path(__file__).parents[2]


def test_a_clone_acts_as_it_was_shown_for_each_task():
    config = load_config(ROOT / "configs" / "reach.yaml")
    reach, rng = family("reach"), np.random.default_rng(0)
    _, high = bounds(reach.action_fields)  # as far on either side
    tasks = reach.sample_tasks(0, 8)
    middle = tasks.mean(axis=0)
    furthest = np.abs(tasks - middle).max(axis=0)

    def shown(task):
        """From 80 % of the way to one bound to as near the other, in step with the task."""
        return 0.8 * (task - middle) / furthest * high

    episodes = [
        LabelledEpisode(
            observations=rng.normal(5.0, 3.0, (11, width(reach.observation_fields))),
            actions=np.tile(shown(task), (10, 1)),
            rewards=np.zeros(10),
            task_index=index,
            terminated=False,
        )
        for index, task in enumerate(tasks)
    ]
    torch.manual_seed(0)
    clone = Clone(config, episodes, tasks)
    assert clone.rows == 80
    clone.learn(150)
    for episode, task in zip(episodes, tasks, strict=True):
        seen = episode.observations[:-1]
        acted = clone.act(seen, np.tile(task, (len(seen), 1)))
        assert (np.abs(acted - shown(task)).mean(axis=0) < 0.2 * high).all()
