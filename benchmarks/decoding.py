"""What z holds under some settings: how much of rewards the decoder explains, and KL to the prior.

Trains phase 1 on all but the training tasks kept back (`benchmarks.trial`), and looks at these:
z from 256 transitions of a task, rewards of others. Acts nowhere, so that it takes a minute.

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

from benchmarks.trial import kept_back
from fieldtune.train.agent.agent import Agent
from fieldtune.train.algorithms.losses import kl_to_prior
from fieldtune.train.data.replay import Replay
from fieldtune.train.evaluation.measure import decoder_error
from fieldtune.train.phases.updates import offline_updates
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import untrained

LOOKS = 2  # on the way, the end included
TRANSITIONS = 64  # of the contexts whose KL is told: about what training draws


@dataclass(frozen=True)
class Held:
    """After so many updates: share of the rewards' variance that is explained for the tasks trained
    on and for those kept back, KL of one of the latter's posteriors to the prior, and how far their
    means lie apart, in deviations of N(0, I)."""

    updates: int
    trained: float
    kept_back: float
    kl: float
    spread: float

    def __str__(self) -> str:
        return (
            f"{self.updates:6} updates  explained {self.trained:5.2f} of tasks trained on, "
            f"{self.kept_back:5.2f} of those kept back  KL {self.kl:5.2f}  spread {self.spread:4.2f}"
        )


def looks(run: Run) -> Iterator[Held]:
    """Train phase 1 of `run` to its end; its held-out tasks are those looked at."""
    rng = seed_everything(run.config.seed)
    learner = require_self_supervised(run, untrained(run))
    trained, others = offline_replay(run, learner), held_out_replay(run, learner)
    update, last = offline_updates(learner, trained, rng, run.config), run.config.offline.updates
    for done in range(1, last + 1):
        update()
        if done % (last // LOOKS) == 0:
            yield held(learner.agent, trained, others, done)


@torch.no_grad()
def held(agent: Agent, trained: Replay, others: Replay, updates: int) -> Held:
    """See `Held`; both replays are in the agent's training units."""
    tasks = others.tasks_with_data
    context = others.context(np.random.default_rng(0), tasks, TRANSITIONS, None)
    mean, variance = agent.infer(context)
    return Held(
        updates,
        decoder_error(agent, trained, 0).explained,
        decoder_error(agent, others, 0).explained,
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
            run = replace(run, dataset=kept_back(run.dataset))
            for found in looks(run):
                print(f"  seed {seed}  {time.process_time():5.0f} s  {found}", flush=True)


if __name__ == "__main__":
    main()
