"""How far plain imitation comes on a family's data: what a policy could learn from it at best.

    OMP_NUM_THREADS=1 python -m benchmarks.imitation configs/multi.yaml data.path=data/multi

Clones only the episodes that ended in success, with the task told in the place of z, and prints the
success on training tasks kept back. Where this fails, no inference of tasks can help: the data, the
observations or the network are what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.trial import kept_back
from fieldtune.sim.family import Array, bounds
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.sim.success import succeeded
from fieldtune.train.agent.networks import Policy
from fieldtune.train.agent.squashed_gaussian import squashed_log_prob
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.config import LatentSettings, RunConfig
from fieldtune.train.data.dataset import read_dataset
from fieldtune.train.runs.config_file import load_config

LOOKS, STARTS = 3, 4
ROWS = 512


class Clone:
    """π(a|s, task), with inputs of zero mean and unit variance."""

    def __init__(self, config: RunConfig, episodes: Sequence[LabelledEpisode], told: Array) -> None:
        """`told` `(episode, parameter)` are the tasks."""
        family = make_family(config.family, **config.family_options)
        low, high = bounds(family.action_fields)
        self._centre, self._half = (high + low) / 2, (high - low) / 2
        seen = np.concatenate([one.observations[:-1] for one in episodes])
        self._seen, self._told = _Scale(seen), _Scale(told)
        steps = [one.steps for one in episodes]
        self.rows = len(seen)
        self.observations = self._seen(seen)
        self.tasks = self._told(np.repeat(told, steps, axis=0))
        acted = np.concatenate([one.actions for one in episodes])
        self.actions = _tensor((acted - self._centre) / self._half)
        assert isinstance(config.algorithm, LatentSettings)  # it has networks like ours
        widths = config.algorithm.networks.policy
        self.policy = Policy(seen.shape[1], acted.shape[1], told.shape[1], widths)
        self._optimiser = adam(config.algorithm.learning_rate, self.policy)

    def learn(self, updates: int) -> None:
        for _ in range(updates):
            rows = torch.randint(self.rows, (ROWS,))
            mean, log_std = self.policy(self.observations[rows], self.tasks[rows])
            loss = -squashed_log_prob(mean, log_std, self.actions[rows]).mean()
            gradient_step(loss, self._optimiser)

    @torch.no_grad()
    def act(self, observations: Array, told: Array) -> Array:
        """The mean action, in physical units."""
        mean, _ = self.policy(self._seen(observations), self._told(told))
        return np.asarray(torch.tanh(mean).double().numpy() * self._half + self._centre)


class _Scale:
    def __init__(self, rows: Array) -> None:
        deviation = rows.std(axis=0)
        self._mean = rows.mean(axis=0)
        self._deviation = np.where(deviation < 1e-6, 1.0, deviation)

    def __call__(self, rows: Array) -> Tensor:
        return _tensor((rows - self._mean) / self._deviation)


def _tensor(rows: Array) -> Tensor:
    return torch.as_tensor(rows, dtype=torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--updates", type=int, default=6000)
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = load_config(given.config, overrides=given.overrides)
    family = make_family(config.family, **config.family_options)
    dataset = kept_back(read_dataset(Path(config.data.path), family))
    episodes = [(e, t) for e, t in _training(dataset.train, dataset.train_tasks) if succeeded(e)]
    clone = Clone(config, [e for e, _ in episodes], np.array([t for _, t in episodes]))
    print(f"{len(episodes)} episodes that ended in success, {clone.rows:,} transitions")
    tasks = np.repeat(dataset.test_tasks, STARTS, axis=0)
    simulator = family.simulator(len(tasks))
    for turn in range(LOOKS):
        clone.learn(given.updates // LOOKS)
        acted = rollout(
            simulator, family, lambda seen: clone.act(seen, tasks), np.arange(len(tasks)), tasks
        )
        done = np.array([succeeded(one) for one in acted]).reshape(-1, STARTS).mean(axis=1)
        mean = np.mean([one.rewards.sum() for one in acted])
        print(
            f"{given.updates * (turn + 1) // LOOKS} updates: return {mean:.1f}, success "
            f"{done.mean():.0%}, by task {' '.join(f'{share:.2f}' for share in done)}",
            flush=True,
        )
    simulator.close()


def _training(
    episodes: Sequence[Sequence[LabelledEpisode]], tasks: Array
) -> list[tuple[LabelledEpisode, Array]]:
    return [(one, task) for of_task, task in zip(episodes, tasks, strict=True) for one in of_task]


if __name__ == "__main__":
    main()
