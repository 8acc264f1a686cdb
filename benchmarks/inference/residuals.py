"""Ablations of the likelihood itself: how the decoder's errors are taken to be spread.

All judge the same episodes. What a variance depends on is measured on the training tasks' offline
data, as the library measures its one number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.inference.beliefs import Belief, believed, explore, first, judged
from benchmarks.inference.bench import Bench
from benchmarks.inference.tables import Row, Table
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Batch
from fieldtune.train.runs.particles import CONTEXT, RESIDUAL

_ROWS = 16_384  # of the decoder at once
_BINS = 10  # of the predicted reward
_FREEDOM = 3.0  # of Student's t
_DEVIATION = 1.4826  # of a Gaussian, in its median absolute deviation
CLIPS = (0.05, 0.01, 0.001)  # the least probability that a success may have

Density = Callable[[Tensor, Tensor], Tensor]
"""Predicted `(task, transition, particle)` and observed `(task, transition, 1)` rewards to log p,
up to a constant; where rewards are −1 and 0, logits and successes."""


def residuals(bench: Bench) -> Table:
    """The library's likelihood against others of the same decoder's errors.

    Raises:
        ValueError: bodies differ: another likelihood is added there.
    """
    if bench.agent.dynamics is not None:
        raise ValueError(f"{bench.run.config.family}: bodies differ; leave out `residuals`")
    start = Belief.of(bench, bench.particles)
    episodes, after = explore(bench, start)
    named = "Bernoulli (default)" if bench.agent.shape.sparse_reward else "one Gaussian (default)"
    rows = [Row.of(named, {**judged(bench, after), **first(bench, start)})]
    for name, density in densities(bench).items():
        other = replace(start, likelihood=Weighed(bench, density))
        cells = {**judged(bench, believed(other, episodes)), **first(bench, other)}
        rows.append(Row.of(name, cells))
    return Table("How the decoder's errors are spread", bench.measure, rows)


def densities(bench: Bench) -> dict[str, Density]:
    """Those that suit the family's rewards."""
    if bench.agent.shape.sparse_reward:
        return {f"probabilities from {p:g} to {1 - p:g}": clipped(p) for p in CLIPS}
    errors = Errors.of(bench)
    scale = _DEVIATION * float(errors.error.abs().median())
    return {
        "a Gaussian by task": errors.by_task(bench.particles.z),
        "a Gaussian by predicted reward": errors.by_prediction(),
        "Huber": huber(scale),
        "Student's t": student(scale),
    }


@dataclass(frozen=True)
class Weighed:
    """Σ log p of a context under each particle, tempered as the library's."""

    bench: Bench
    density: Density

    @torch.no_grad()
    def __call__(self, context: Batch) -> Tensor:
        agent, z = self.bench.agent, self.bench.particles.z
        tasks, steps = context.reward.shape
        total = torch.zeros(tasks, len(z))
        step = max(1, _ROWS // max(1, total.numel()))
        constants = agent.normalisation
        for i in range(0, steps, step):
            observation, action, reward = (
                part[:, i : i + step].unsqueeze(2) for part in context[:3]
            )
            shape = (*reward.shape[:2], len(z))
            predicted = agent.decoder(
                observation.expand(*shape, -1), action.expand(*shape, -1), z.expand(*shape, -1)
            ).squeeze(-1)
            sparse = agent.shape.sparse_reward
            low, high = constants.reward_low, constants.reward_high
            seen = agent.success(reward) if sparse else reward.clamp(low, high)
            total += self.density(predicted, seen).sum(dim=1)
        return self.bench.particles.temper * total


@dataclass(frozen=True)
class Errors:
    """The decoder's on offline data.

    Attributes:
        z: of the training tasks, `(task, latent)`.
        predicted, error: `(task, transition)`.
    """

    z: Tensor
    predicted: Tensor
    error: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bench: Bench) -> Errors:
        """Of transitions that z was not inferred from."""
        rng, tasks = np.random.default_rng(bench.seed), bench.offline.tasks_with_data
        z = bench.agent.infer(bench.offline.context(rng, tasks, CONTEXT, None))[0]
        rows = bench.offline.transitions(rng, tasks, RESIDUAL)
        each = per_row(z, RESIDUAL)
        predicted = bench.agent.decoder(rows.observation, rows.action, each).squeeze(-1)
        return cls(z, predicted, rows.reward - predicted)

    def by_task(self, z: Tensor) -> Density:
        """With the variance of the task that is nearest to each particle `(particle, latent)`."""
        nearest = torch.cdist(z, self.z).argmin(dim=1)
        variance = self.error.square().mean(dim=1).clamp(min=1e-8)[nearest]
        return lambda predicted, seen: _gaussian(seen - predicted, variance)

    def by_prediction(self) -> Density:
        """With the variance of errors where as much reward was predicted, in ten bins."""
        edges = self.predicted.flatten().quantile(torch.linspace(0, 1, _BINS + 1))[1:-1]
        bins = torch.bucketize(self.predicted.flatten(), edges)
        squares = self.error.flatten().square()
        variance = torch.stack([squares[bins == one].mean() for one in range(_BINS)])
        return lambda predicted, seen: _gaussian(
            seen - predicted, variance.clamp(min=1e-8)[torch.bucketize(predicted, edges)]
        )


def _gaussian(error: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (error.square() / variance + variance.log())


def huber(scale: float) -> Density:
    """A Gaussian of this deviation as far as two of them, and linear beyond."""
    return lambda predicted, seen: (
        -F.huber_loss(
            predicted / scale, (seen / scale).expand_as(predicted), reduction="none", delta=2.0
        )
    )


def student(scale: float) -> Density:
    """Student's t of three degrees of freedom."""
    power = (_FREEDOM + 1) / 2
    return lambda predicted, seen: (
        -power * torch.log1p(((seen - predicted) / scale).square() / _FREEDOM)
    )


def clipped(least: float) -> Density:
    """Bernoulli, with no probability nearer to 0 or 1 than this."""
    edge = float(np.log((1 - least) / least))
    return lambda predicted, seen: (
        -F.binary_cross_entropy_with_logits(
            predicted.clamp(-edge, edge), seen.expand_as(predicted), reduction="none"
        )
    )
