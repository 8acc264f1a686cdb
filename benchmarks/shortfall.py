"""What an episode falls short by with z of all of its task's data: the decoder, or the policy.

    OMP_NUM_THREADS=1 python -m benchmarks.shortfall runs/reach ...

Of training tasks alone, after phase 1. Where the decoder knows that the policy's last step pays
little, z holds the task and the policy does not do what z says; where it believes that it pays
well, z or the decoder is what is off. Rewards are in the family's units, of dense families.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.phases.labelling import decoded_rewards
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.opening import open_existing
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline

TASKS = 40  # the first ones
LAST = 10  # steps of an episode that count as its end


@dataclass(frozen=True)
class Shortfall:
    """Means over tasks, in the family's units of reward.

    Attributes:
        decoder_error: root mean square over the data's steps.
        ended: reward of the last steps of the policy's episodes.
        believed: what the decoder says of these steps.
        best: reward of the best step on the way.
    """

    decoder_error: float
    ended: float
    believed: float
    best: float

    def __str__(self) -> str:
        return (
            f"decoder {self.decoder_error:.3g} off on its data; the policy ends at "
            f"{self.ended:.3g}, the decoder says {self.believed:.3g} there; "
            f"on the way {self.best:.3g}"
        )


@torch.no_grad()
def shortfall(run: Run, agent: Agent) -> Shortfall:
    """An episode of each of the first training tasks, z the posterior mean of all of its data."""
    contexts, tasks = run.dataset.train[:TASKS], run.dataset.train_tasks[:TASKS]
    simulator = run.family.simulator(len(tasks))
    known = [agent.infer(context_of(agent, of_task))[0].flatten() for of_task in contexts]
    actor = agent.actor(torch.stack(known), torch.zeros(len(known), agent.latent_size))
    try:
        acted = run_episodes(actor, run.family, simulator, np.arange(len(tasks)), tasks)
    finally:
        simulator.close()
    off = [
        decoded_rewards(agent, one, z) - one.rewards
        for of_task, z in zip(contexts, known, strict=True)
        for one in of_task
    ]
    believed = [decoded_rewards(agent, one, z)[-LAST:] for one, z in zip(acted, known, strict=True)]
    return Shortfall(
        decoder_error=float(np.sqrt(np.square(np.concatenate(off)).mean())),
        ended=float(np.mean([one.rewards[-LAST:].mean() for one in acted])),
        believed=float(np.mean([part.mean() for part in believed])),
        best=float(np.mean([one.rewards.max() for one in acted])),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="with phase 1 trained")
    torch.set_num_threads(1)
    for folder in parser.parse_args().runs:
        run = open_existing(folder)
        agent = require_self_supervised(run, after_offline(run)).agent
        print(f"{run.family.name}, {folder}: {shortfall(run, agent)}", flush=True)


if __name__ == "__main__":
    main()
