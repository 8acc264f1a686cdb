"""What z holds under some settings: how much of rewards the decoder explains, and KL to the prior.

Trains phase 1 on all but the training tasks kept back (`benchmarks.trial`), and looks at these:
z from 256 transitions of a task, rewards of 256 others. Acts nowhere, so that it takes a minute.

    OMP_NUM_THREADS=1 python -m benchmarks.decoding configs/cheetah-vel.yaml --seeds 2 \\
        algorithm.kl_weight=0.1 algorithm.prior_factor=false
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.trial import kept_back
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithms.losses import kl_to_prior
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Replay
from fieldtune.train.phases.updates import offline_updates
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import untrained

LOOKS = 2  # on the way, the end included
TRANSITIONS = 256  # of each context, as for labels, and as many others whose rewards are predicted
DRAWS = 16


@dataclass(frozen=True)
class Held:
    """After so many updates, of the tasks kept back: the share of the rewards' variance that is
    explained with a posterior's mean for z, and with a draw, which is what trains and labels; its
    KL to the prior; and how far means lie apart, in deviations of N(0, I)."""

    updates: int
    by_mean: float
    by_draw: float
    kl: float
    spread: float

    def __str__(self) -> str:
        return (
            f"{self.updates:6} updates  explained by the mean {self.by_mean:5.2f}, by a draw "
            f"{self.by_draw:5.2f}  KL {self.kl:5.2f}  spread {self.spread:4.2f}"
        )


def looks(run: Run) -> Iterator[Held]:
    """Train phase 1 of `run` to its end; its held-out tasks are those looked at."""
    rng = seed_everything(run.config.seed)
    learner = require_self_supervised(run, untrained(run))
    others, last = held_out_replay(run, learner), run.config.offline.updates
    update = offline_updates(learner, offline_replay(run, learner), rng, run.config)
    marks = {last * look // LOOKS for look in range(1, LOOKS + 1)}
    for done in range(1, last + 1):
        update()
        if done in marks:
            yield held(learner.agent, others, done)


@torch.no_grad()
def held(agent: Agent, others: Replay, updates: int) -> Held:
    """See `Held`; `others` are in the agent's training units, rewards not sparse."""
    rng, tasks = np.random.default_rng(0), others.tasks_with_data
    mean, variance = agent.infer(others.context(rng, tasks, TRANSITIONS, None))
    batch = others.transitions(rng, tasks, TRANSITIONS)

    def explained(z: Tensor) -> float:
        rows = per_row(z, TRANSITIONS)
        predicted = agent.decoder(batch.observation, batch.action, rows).squeeze(-1)
        return 1.0 - float((predicted - batch.reward).square().mean() / batch.reward.var())

    draws = torch.Generator().manual_seed(0)
    by_draw = [explained(sample(mean, variance, draws)) for _ in range(DRAWS)]
    return Held(
        updates,
        explained(mean),
        float(np.mean(by_draw)),
        float(kl_to_prior(mean, variance).mean()),
        float(mean.std(dim=0).mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    print(" ".join(given.overrides) or "as the file has it")
    for seed in range(given.seeds):
        config = load_config(given.config, overrides=[*given.overrides, f"seed={seed}"])
        with TemporaryDirectory() as folder:
            run = open_run(config, Path(folder))
            if run.family.sparse_reward:
                parser.error(f"rewards of {run.family.name} are sparse: explained is of dense ones")
            run = replace(run, dataset=kept_back(run.dataset))
            for found in looks(run):
                print(f"  seed {seed}  {time.process_time():5.0f} s  {found}", flush=True)


if __name__ == "__main__":
    main()
