"""The clone learns what was done, and does for each task what was done for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.imitation import Clone, Setting, pace, successes
from fieldtune.sim.family import bounds, width
from fieldtune.sim.registry import family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.runs.config_file import load_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("bf16", "action_error"), [(False, 0.0), (True, 20.0)])
def test_a_clone_acts_as_it_was_shown_for_each_task(bf16, action_error):
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
    setting = Setting((64, 64), rows=256, bf16=bf16, action_error=action_error)
    clone = Clone(config, episodes, tasks, setting)
    assert clone.rows == 80
    clone.learn(150)
    for episode, task in zip(episodes, tasks, strict=True):
        seen = episode.observations[:-1]
        acted = clone.acting(np.tile(task, (len(seen), 1))).act(seen, None)
        assert (np.abs(acted - shown(task)).mean(axis=0) < 0.2 * high).all()
    assert pace(clone, 0.01) > 0


def test_only_successes_among_the_first_episodes_of_each_task_are_cloned():
    def ending(reward, index):
        rewards = np.array([-1.0, reward])
        return LabelledEpisode(index, np.zeros((3, 1)), np.zeros((2, 1)), rewards, False)

    tasks = np.array([[0.5], [0.7]])
    split = [[ending(reward, index) for reward in (0, -1, 0)] for index in range(2)]
    dataset = Dataset("x", tasks, tasks, split, split)
    every, of = successes(dataset, Setting((8,)), family("push"))
    assert [len(every), of[:, 0].tolist()] == [4, [0.5, 0.5, 0.7, 0.7]]
    few, _ = successes(dataset, Setting((8,), episodes=2), family("push"))
    assert few == [split[0][0], split[1][0]]
