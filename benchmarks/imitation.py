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
from torch import Tensor

from benchmarks.trial import kept_back
from fieldtune.sim.family import Array, Field, TaskFamily, bounds, rewarded
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.sim.success import succeeded
from fieldtune.train.agent.networks import Policy
from fieldtune.train.agent.squashed_gaussian import ACTION_EDGE
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.config import LatentSettings, RunConfig
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.device import CPU, in_precision
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import learned_from

LOOKS = 3
DEPTH = 3
INDEX = "index"  # unit of a parameter that says which: told as one number for each it may be


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
    """π(a|s, task), with inputs of zero mean and unit variance."""

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
        self._fields, self._setting = family.task_fields, setting
        self._centre, self._half = (high + low) / 2, (high - low) / 2
        seen = np.concatenate([one.observations[:-1] for one in episodes])
        told = as_told(self._fields, tasks)
        self._seen, self._told = _Scale(seen), _Scale(told)
        steps = [one.steps for one in episodes]
        self.rows = len(seen)
        self.observations = self._seen(seen)
        self.tasks = self._told(np.repeat(told, steps, axis=0))
        acted = np.concatenate([one.actions for one in episodes])
        self.actions = _tensor((acted - self._centre) / self._half)
        self.policy = Policy(seen.shape[1], acted.shape[1], told.shape[1], setting.widths)
        self._optimiser = adam(config.algorithm.learning_rate, self.policy)

    def learn(self, updates: int) -> None:
        for _ in range(updates):
            rows = torch.randint(self.rows, (self._setting.rows,))
            with in_precision("bfloat16" if self._setting.bf16 else "float32", CPU):
                mean, log_std = self.policy(self.observations[rows], self.tasks[rows])
            weight = self._setting.action_error
            found = losses.likeness(mean, log_std, self.actions[rows], ACTION_EDGE, weight)
            gradient_step(-found.mean(), self._optimiser)

    @torch.no_grad()
    def act(self, observations: Array, tasks: Array) -> Array:
        """The mean action, in physical units."""
        told = self._told(as_told(self._fields, tasks))
        mean, _ = self.policy(self._seen(observations), told)
        return np.asarray(torch.tanh(mean).double().numpy() * self._half + self._centre)


def as_told(fields: tuple[Field, ...], tasks: Array) -> Array:
    """What rewards depend on of `tasks` `(..., parameter)`; which of several by one number each."""
    columns, first = [], 0
    for field in fields:
        part = tasks[..., first : first + field.width]
        first += field.width
        if field.unit == INDEX:
            columns.append((part == np.arange(field.low[0], field.high[0] + 1)).astype(float))
        elif rewarded((field,)).any():
            columns.append(part)
    return np.concatenate(columns, axis=-1)


class _Scale:
    def __init__(self, rows: Array) -> None:
        deviation = rows.std(axis=0)
        self._mean = rows.mean(axis=0)
        self._deviation = np.where(deviation < 1e-6, 1.0, deviation)

    def __call__(self, rows: Array) -> Tensor:
        return _tensor((rows - self._mean) / self._deviation)


def _tensor(rows: Array) -> Tensor:
    return torch.as_tensor(rows, dtype=torch.float32)


def successes(dataset: Dataset, setting: Setting) -> tuple[list[LabelledEpisode], Array]:
    """The training tasks' episodes that ended in success, and the task of each."""
    found = [
        (one, task)
        for of_task, task in zip(dataset.train, dataset.train_tasks, strict=True)
        for one in of_task[: setting.episodes]
        if succeeded(one)
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
            acted = rollout(
                simulator, family, lambda seen: clone.act(seen, tasks), np.arange(len(tasks)), tasks
            )
            done = np.array([succeeded(one) for one in acted]).reshape(-1, starts).mean(axis=1)
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
        shown, tasks = successes(dataset, setting)
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
