"""What z holds of a task after phase 1: how far off a linear probe of it is, in the task's units.

    OMP_NUM_THREADS=1 python -m benchmarks.latent_probe runs/push trials/pick-place ...

z are posterior means of offline contexts. The probe is fitted on training tasks and judged on
training tasks kept back; the held-out tasks are left alone. A run of `benchmarks.trial` never
learned from those kept back; of any other run only the probe did not: each report says which.
docs/manipulation.md says how the weight of the KL is read off it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.trial import kept_back
from fieldtune.sim.family import Array, Field, rewarded
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.config import LatentSettings
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import to_numpy
from fieldtune.train.evaluation.task_map import turns
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.opening import open_existing
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline

Floats = NDArray[np.float64]

CONTEXTS = 16  # of each task, as long as phase 1's longest
ROWS = 256  # of each task, whose rewards are explained
INDEX = "index"  # unit of a parameter that says which, and not how much


@dataclass(frozen=True)
class Probed:
    """How far off the probe is on tasks kept back, and the mean of the trained tasks in its place.

    In `unit`, a root mean square over tasks, contexts and components. Of a parameter that says
    which, the share that is wrong, and that of the commonest.
    """

    name: str
    unit: str
    error: float
    guessed: float

    def __str__(self) -> str:
        if self.unit == INDEX:
            return f"{self.name}: {self.error:.0%} wrong (guessed: {self.guessed:.0%})"
        return f"{self.name}: {self.error:.3g} {self.unit} off (guessed: {self.guessed:.3g})"


def probe(
    fields: tuple[Field, ...], z: Floats, tasks: Array, kept_z: Floats, kept_tasks: Array
) -> list[Probed]:
    """A linear probe of each field that rewards depend on.

    How much is probed among tasks of the same kind, where a parameter says which: of two blocks, z
    may hold each one's place in a direction of its own.

    Args:
        fields: what the parameters are.
        z: what it is fitted on, `(context, latent)`; tasks: theirs, `(context, parameter)`.
        kept_z, kept_tasks: what it is judged on.
    """
    units = [field.unit for field in fields for _ in range(field.width)]
    kinds = np.array([unit == INDEX for unit in units])
    kind, kept_kind = tasks[:, kinds], kept_tasks[:, kinds]
    found, column = [], 0
    for field in fields:
        columns = slice(column, column + field.width)
        column += field.width
        true, kept_true = tasks[:, columns], kept_tasks[:, columns]
        if field.unit == INDEX:
            error, guessed = _which(z, true[:, 0], kept_z, kept_true[:, 0])
        elif rewarded((field,)).any():
            off = np.empty((2, *kept_true.shape))
            for one in np.unique(kept_kind, axis=0):
                of, kept_of = ((rows == one).all(axis=1) for rows in (kind, kept_kind))
                off[:, kept_of] = _how_much(
                    z[of], true[of], kept_z[kept_of], kept_true[kept_of], turns(field)
                )
            error, guessed = (float(np.sqrt(np.square(each).mean())) for each in off)
        else:
            continue
        found.append(Probed(field.name, field.unit, error, guessed))
    return found


def _which(z: Floats, true: Floats, kept_z: Floats, kept_true: Floats) -> tuple[float, float]:
    known, counts = np.unique(true, return_counts=True)
    said = known[_linear(z, (true[:, None] == known).astype(float), kept_z).argmax(axis=1)]
    return float((said != kept_true).mean()), float((kept_true != known[counts.argmax()]).mean())


def _how_much(
    z: Floats, true: Floats, kept_z: Floats, kept_true: Floats, turning: bool
) -> tuple[Floats, Floats]:
    """How far off probe and mean are, `(context, component)` each; of directions, in degrees."""
    if not turning:
        return _linear(z, true, kept_z) - kept_true, true.mean(axis=0) - kept_true
    turn = np.exp(1j * np.deg2rad(true))
    said = _linear(z, turn.real, kept_z) + 1j * _linear(z, turn.imag, kept_z)
    back = np.exp(-1j * np.deg2rad(kept_true))
    return np.angle(said * back, deg=True), np.angle(turn.mean(axis=0) * back, deg=True)


def _linear(z: Floats, true: Floats, kept_z: Floats) -> Floats:
    """What least squares of `true` on `z` say of `kept_z`."""
    inputs, kept = (np.column_stack([np.ones(len(rows)), rows]) for rows in (z, kept_z))
    return np.asarray(kept @ np.linalg.lstsq(inputs, true, rcond=None)[0])


@torch.no_grad()
def embeddings(run: Run, agent: Agent, replay: Replay, tasks: Array) -> tuple[Floats, Array]:
    """z of `CONTEXTS` offline contexts of each task, `(context, latent)`, and whose they are."""
    rng = np.random.default_rng(run.config.seed)
    known, size = replay.tasks_with_data, run.config.offline.context.size[1]
    means = [agent.infer(replay.context(rng, known, size, None))[0] for _ in range(CONTEXTS)]
    return to_numpy(torch.cat(means).double()), np.tile(tasks[known], (CONTEXTS, 1))


@torch.no_grad()
def explained(run: Run, agent: Agent, replay: Replay) -> str:
    """The two terms that the weight of the KL balances, on the tasks of `replay`."""
    rng = np.random.default_rng(run.config.seed)
    known, size = replay.tasks_with_data, run.config.offline.context.size[1]
    rows = replay.transitions(rng, known, ROWS)
    mean, variance = agent.infer(replay.context(rng, known, size, None))
    with torch.random.fork_rng():
        torch.manual_seed(run.config.seed)
        z = sample(mean, variance)

    def error(z: torch.Tensor) -> float:
        said = agent.decoder(rows.observation, rows.action, per_row(z, ROWS)).squeeze(-1)
        if agent.shape.sparse_reward:
            return losses.success_loss(said, agent.success(rows.reward)).item()
        return losses.reconstruction_loss(said, rows.reward).item()

    assert isinstance(run.config.algorithm, LatentSettings)  # it has an encoder
    weight, kl = run.config.algorithm.kl_weight, losses.kl_to_prior(mean, variance).mean().item()
    return (
        f"KL {kl:.1f} nats × {weight:g} = {weight * kl:.4f} beside the decoder's error of "
        f"{error(z):.4f} a row ({error(z.roll(1, dims=0)):.4f} with the z of another task)"
    )


def opened(folder: Path) -> tuple[Run, Agent, str]:
    """A run with training tasks kept back in the place of its held-out ones, its agent after phase
    1, and what each of them has seen."""
    run = open_existing(folder)
    apart = replace(run, dataset=kept_back(run.dataset))
    facts = read_facts(run.offline_checkpoint)
    from_agent = facts.get("data") == apart.dataset.digest
    trained = apart if from_agent else run
    return (
        apart,
        require_self_supervised(trained, after_offline(trained)).agent,
        f"{facts['updates']:,} updates; {len(apart.dataset.train)} tasks to fit on, "
        f"{len(apart.dataset.test)} kept back from {'agent and ' if from_agent else ''}probe",
    )


def report(run: Run, agent: Agent) -> list[str]:
    """A line for each field that rewards depend on, and one of what the KL costs."""
    data, kept = run.dataset, held_out_replay(run, agent)
    fitted = embeddings(run, agent, offline_replay(run, agent), data.train_tasks)
    judged = embeddings(run, agent, kept, data.test_tasks)
    lines = [str(one) for one in probe(run.family.task_fields, *fitted, *judged)]
    return [*lines, explained(run, agent, kept)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="with phase 1 trained")
    torch.set_num_threads(1)
    for folder in parser.parse_args().runs:
        run, agent, seen = opened(folder)
        print(f"{run.family.name}, {folder}: {seen}")
        for line in report(run, agent):
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
