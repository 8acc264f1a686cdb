"""How far plain imitation comes on a family's data: what a policy could learn from it at best.

    OMP_NUM_THREADS=1 python -m benchmarks.imitation configs/multi.yaml data.path=data/multi \\
        --widths 256,512 --rows 1024,4096 --episodes 24,120

Clones only the episodes that ended in success, with the task told in the place of z, and prints the
success on training tasks kept back, by width of the three layers, rows an update and episodes of a
task. Where this fails, no inference of tasks can help: the data, the observations or the network
are what is missing. `--time 30` times each setting's updates for so long, in float32 and in
bfloat16, and trains none.
`--action-errors 0,20` clones with the mean action's error beside −log π at each of these weights
(`algorithm.action_error_weight`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.trial import kept_back
from fieldtune.sim.family import Array, TaskFamily, bounds
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.sim.success import succeeded
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.told import ToldActor, ToldPolicy
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.algorithms.told_cloning import Cloning, ToldCloning
from fieldtune.train.config import LatentSettings, RunConfig
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.device import CPU
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import learned_from

LOOKS = 3
DEPTH = 3


@dataclass(frozen=True)
class Setting:
    """How wide and how long a clone learns, and from how much.

    Attributes:
        widths: of the policy's layers.
        rows: of an update.
        episodes: of each training task, the first ones; None: all.
        bf16: whether the policy learns as with `algorithm.precision: bfloat16`.
        action_error: weight of the mean action's error beside −log π.
    """

    widths: tuple[int, ...]
    rows: int = 512
    episodes: int | None = None
    bf16: bool = False
    action_error: float = 0.0

    def __str__(self) -> str:
        layers = " × ".join(map(str, self.widths))
        of_task = "all" if self.episodes is None else self.episodes
        kind = ", bfloat16" if self.bf16 else ""
        kind += f", action error × {self.action_error:g}" if self.action_error else ""
        return f"{layers} wide, {self.rows} rows, {of_task} episodes a task{kind}"


class Clone:
    """A policy that is told the task, of inputs with zero mean and unit variance, and its draws."""

    def __init__(
        self, config: RunConfig, episodes: Sequence[LabelledEpisode], tasks: Array, setting: Setting
    ) -> None:
        """
        Args:
            config: says which family, and the learning rate.
            episodes: to be cloned.
            tasks: of each, `(episode, parameter)`.
            setting: widths, rows, and in what it computes.
        """
        family = make_family(config.family, **config.family_options)
        low, high = bounds(family.action_fields)
        seen = np.concatenate([one.observations[:-1] for one in episodes])
        rewards = np.concatenate([one.rewards for one in episodes])
        units = Normalisation.of(seen, rewards, low, high)
        told = ToldPolicy(family.task_fields, tasks, units, len(low), setting.widths)
        cloning = Cloning(
            rows=setting.rows,
            learning_rate=config.algorithm.learning_rate,
            error_weight=setting.action_error,
            precision="bfloat16" if setting.bf16 else "float32",
        )
        self._learner = ToldCloning(told, episodes, tasks, cloning, CPU)
        self._rng = np.random.default_rng(0)
        self.rows = self._learner.rows

    def learn(self, updates: int) -> None:
        for _ in range(updates):
            self._learner.update(self._rng)

    def acting(self, tasks: Array) -> ToldActor:
        """With the mean action, a task `(copy, parameter)` a copy."""
        return ToldActor(self._learner.networks, tasks)


def successes(
    dataset: Dataset, setting: Setting, family: TaskFamily
) -> tuple[list[LabelledEpisode], Array]:
    """The training tasks' episodes that ended in success, and the task of each."""
    found = [
        (one, task)
        for of_task, task in zip(dataset.train, dataset.train_tasks, strict=True)
        for one in of_task[: setting.episodes]
        if succeeded(family, one)
    ]
    return [one for one, _ in found], np.array([task for _, task in found])


def learned(
    clone: Clone, family: TaskFamily, kept: Array, updates: int, starts: int
) -> Iterator[tuple[int, Array, float]]:
    """Train, and now and then yield how far it is.

    Args:
        clone: learns.
        family: simulates.
        kept: tasks to be judged on, `(task, parameter)`.
        updates: in all.
        starts: episodes of each task.

    Yields:
        The updates so far, the success of each task `(task,)`, and the mean return.
    """
    tasks = np.repeat(kept, starts, axis=0)
    simulator = family.simulator(len(tasks))
    try:
        for turn in range(LOOKS):
            clone.learn(updates * (turn + 1) // LOOKS - updates * turn // LOOKS)
            acted = run_episodes(
                clone.acting(tasks), family, simulator, np.arange(len(tasks)), tasks
            )
            ended = np.array([succeeded(family, one) for one in acted])
            done = ended.reshape(-1, starts).mean(axis=1)
            mean = float(np.mean([one.rewards.sum() for one in acted]))
            yield updates * (turn + 1) // LOOKS, done, mean
    finally:
        simulator.close()


def pace(clone: Clone, seconds: float) -> float:
    """Updates a second of processor time, which a busy machine does not change much."""
    clone.learn(3)  # what is set up once
    began, used, updates = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        clone.learn(1)
        updates += 1
    return updates / (time.process_time() - used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--widths", type=_numbers, help="of three layers each; default: the file's")
    parser.add_argument("--rows", type=_numbers, default=[512])
    parser.add_argument("--episodes", type=_numbers, default=[None], help="of each training task")
    parser.add_argument("--action-errors", type=_weights, default=[0.0], help="beside −log π")
    parser.add_argument("--starts", type=int, default=4, help="episodes of each task kept back")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--time", type=float, metavar="SECONDS")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    config = load_config(given.config, overrides=given.overrides)
    family = make_family(config.family, **config.family_options)
    dataset = kept_back(learned_from(config, family))
    assert isinstance(config.algorithm, LatentSettings)  # it has networks like ours
    layers = [(width,) * DEPTH for width in given.widths or ()]
    layers = layers or [config.algorithm.networks.policy]
    table: list[str] = []
    chosen = product(layers, given.rows, given.episodes, given.action_errors)
    for widths, rows, episodes, action_error in chosen:
        setting = Setting(widths, rows, episodes, given.bf16, action_error)
        shown, tasks = successes(dataset, setting, family)
        if not shown:
            parser.error(f"{setting}: no episode of {config.data.path} ended in success")
        if given.time is not None:
            for bf16 in (False, True):
                timed = replace(setting, bf16=bf16)
                rate = pace(Clone(config, shown, tasks, timed), given.time)
                print(f"{timed}: {rate:.1f} updates a second of processor time", flush=True)
            continue
        torch.manual_seed(0)
        clone, used = Clone(config, shown, tasks, setting), time.process_time()
        print(f"{setting}: {len(shown)} that ended in success, {clone.rows:,} transitions")
        kept = dataset.test_tasks
        for updates, done, mean in learned(clone, family, kept, given.updates, given.starts):
            by_task = " ".join(f"{share:.2f}" for share in done)
            print(f"  {updates} updates: return {mean:.1f}, {done.mean():.0%}, by task {by_task}")
        spent = time.process_time() - used
        table.append(f"{done.mean():4.0%}  {setting}, {spent:.0f} s of processor time")
        print(f"  {table[-1]}", flush=True)
    if len(table) > 1:
        print(f"success after {given.updates} updates:", *table, sep="\n")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _weights(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
