"""What it is worth to the agent behind a family's data to be told its task, and not another one.

Where it gains nothing by the truth, nobody need infer it: the first thing to ask of a family whose
policy does as well by another task's exploration as by its own.

    OMP_NUM_THREADS=1 python -m benchmarks.told_agent configs/walker-params.yaml

The agent learns as long as `fieldtune collect` lets it (`data.agent`, some minutes). Every task is
then acted in twice from the same start states, by an agent that is told it and by one that is told
another: the training tasks, and tasks that it never saw.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fieldtune.settings import ConfigError
from fieldtune.sim.family import Array
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import BATCH, mean_return
from fieldtune.train.collecting.told_agent import ToldAgent
from fieldtune.train.cores import workers
from fieldtune.train.evaluation.statistics import Estimate, difference, mean
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.seeds import seed_everything

NEW_SEED, NEW = 777, 20  # tasks of no split, and how many
REPEATS = 16
LOOKS = 2  # on the way, the end among them


def learn(
    agent: ToldAgent, tasks: Array, rounds: int, updates: int, rng: np.random.Generator
) -> float:
    """Let it act and learn for so many rounds, of so many updates; the mean return of the last."""
    acted = []
    for _ in range(rounds):
        acted = agent.episodes(tasks, rng.integers(len(tasks), size=BATCH), rng)
        agent.remember(acted, rng)
        for _ in range(updates):
            agent.learn(rng)
    return mean_return(acted)


def worth(agent: ToldAgent, tasks: Array, repeats: int) -> tuple[Estimate, Estimate, Estimate]:
    """Mean returns in `tasks` of an agent that is told its own, and of one that is told another,
    and the difference, over tasks: from the same start states and draws, another one in each of
    `repeats`."""
    indices, found = np.arange(len(tasks)), []
    for repeat in range(repeats):
        another = np.roll(tasks, 1 + repeat % (len(tasks) - 1), axis=0)
        for told in (tasks, another):
            torch.manual_seed(repeat)
            rng = np.random.default_rng([NEW_SEED, repeat])
            episodes = agent.episodes(tasks, indices, rng, told=told)
            found.append([episode.rewards.sum() for episode in episodes])
    own, other = np.reshape(found, (repeats, 2, len(tasks))).mean(axis=0)
    return mean(own), mean(other), difference(own, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(given.config, overrides=given.overrides)
    settings = config.data.agent
    if settings is None:
        raise ConfigError(f"{config.family}: no agent makes its data (data.agent)")
    family = make_family(config.family, **config.family_options)
    rng = seed_everything(config.seed)
    trained, new = family.split().train, family.sample_tasks(NEW_SEED, NEW)
    agent = ToldAgent(family, trained, settings.rounds * BATCH, settings, workers(config.workers))
    done = 0
    for look in range(LOOKS):
        rounds = settings.rounds * (look + 1) // LOOKS
        acted = learn(agent, trained, rounds - done, settings.updates_per_round, rng)
        done = rounds
        print(f"{done} rounds of {BATCH} episodes, the last returns {acted:.1f}")
        for name, tasks in (("trained on", trained), ("new", new)):
            own, another, gained = worth(agent, tasks, REPEATS)
            print(
                f"  {len(tasks)} tasks {name}: told its own {own.value:.1f}, another "
                f"{another.value:.1f}, gained {gained.value:.1f} [{gained.low:.1f}, "
                f"{gained.high:.1f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
