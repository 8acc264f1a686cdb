"""What randomisation in training is worth on an arm that varies, and what it costs on one as it is.

    fieldtune study multi --seeds 1 --out studies/multi
    fieldtune study multi --seeds 1 --out studies/varied 'randomisation.latency=[1, 3]' ...
    OMP_NUM_THREADS=1 python -m benchmarks.randomised studies/multi/seed-0 studies/varied/seed-0

Every run named is measured on its held-out tasks, on the arm as it is and on one that varies as the
last run's `randomisation` says, anew in every episode: after phase 1 and after phase 2, the context
two episodes of own exploration on that same arm. The seeds are the same for all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fieldtune.sim.family import TaskFamily
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.data.randomise import randomised
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline, averaged

REPEATS = 12


def opened(folder: Path) -> Run:
    """A run that is there; its data are where its configuration says."""
    config = load_config(folder / "config.yaml")
    return open_run(config, folder)


def after_phases(run: Run) -> dict[str, Algorithm]:
    """What each phase of a study's run left."""
    trained = run.folder / "checkpoints" / "trained.safetensors"
    return {"before phase 2": after_offline(run), "after phase 2": averaged(run, trained)}


def told(family: TaskFamily, run: Run, trained: Algorithm) -> str:
    """Success and return, with the standard error over tasks."""
    protocol = run.config.evaluation.model_copy(update={"repeats": REPEATS})
    config = run.config.model_copy(update={"evaluation": protocol})
    evaluator = Evaluator.of(config, family, run.dataset.test_tasks)
    (found,) = evaluator.online(trained, run.config.seed, only=evaluator.quoted).acted
    evaluator.close()
    returns = f"return {found.mean_return:6.1f}"
    if found.successes is None:
        return returns
    share = found.successes.mean(axis=1)
    error = share.std(ddof=1) / np.sqrt(len(share))
    return f"success {share.mean():4.0%} ± {error:.0%}, {returns}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = [opened(folder) for folder in given.runs]
    last = runs[-1]
    varied = randomised(last.family, last.config.randomisation)
    arms = {"as it is": last.family, "varied": varied}
    for run in runs:
        for phase, trained in after_phases(run).items():
            for arm, family in arms.items():
                print(
                    f"{run.folder}  {phase:14}  arm {arm:8}  {told(family, run, trained)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
