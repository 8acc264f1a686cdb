"""Ablations of where particles come from, and of how many there are.

Each variant explores by its own particles. Errors, temper and threshold stay those of the library's
particles: they are the decoder's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.inference.beliefs import Belief, explore, first, judged
from benchmarks.inference.bench import Bench, Episode
from benchmarks.inference.refined import candidate_likelihood, likeliest_of
from benchmarks.inference.tables import Row, Table
from fieldtune.train.agent.posterior import sample
from fieldtune.train.data.replay import concatenate
from fieldtune.train.runs.particles import CONTEXT, COUNT

SIZES = (1_000, 10, 30, 100, 300, 3_000, 10_000)  # the first is what others are compared with
DRAWS = 100  # of the encoder's posterior
_AT_ONCE = 50  # tasks


def number(bench: Bench) -> Table:
    """From ten particles to ten thousand, half of each between two posterior means."""
    means = posterior_means(bench, max(SIZES))
    rows = [
        _row(bench, f"{size:,}", half_between(means[torch.randperm(len(means))[:size]]))
        for size in SIZES
    ]
    return Table("Number of particles", bench.measure, rows)


def source(bench: Bench) -> Table:
    """As many particles from elsewhere."""
    default = Belief.of(bench, bench.particles)
    rows = [_row(bench, "half between pairs (default)", bench.particles.z)]
    rows += [_row(bench, name, z) for name, z in _others(bench)]
    _, after = explore(bench, WithEncoder(bench, default))
    rows.append(Row.of(f"default, and {DRAWS} draws of q(z\\|h)", judged(bench, after)))
    return Table("Source of particles", bench.measure, rows)


def _others(bench: Bench) -> Iterator[tuple[str, Tensor]]:
    means = posterior_means(bench, COUNT)
    yield "posterior means", means
    yield "all between pairs", between(means, means[torch.randperm(COUNT)])
    fit = torch.distributions.MultivariateNormal(means.mean(dim=0), _covariance(means))
    yield "a Gaussian fitted to the means", fit.sample((COUNT,))
    yield "N(0, I)", torch.randn_like(means)


def _row(bench: Bench, name: str, z: Tensor) -> Row:
    belief = Belief.of(bench, replace(bench.particles, z=z))
    _, after = explore(bench, belief)
    return Row.of(name, {**judged(bench, after), **first(bench, belief)})


@torch.no_grad()
def posterior_means(bench: Bench, count: int) -> Tensor:
    """Of contexts of random training tasks' offline data, `(particle, latent)`."""
    rng = np.random.default_rng(bench.seed)
    tasks = [int(task) for task in rng.choice(bench.offline.tasks_with_data, size=count)]
    means = [
        bench.agent.infer(bench.offline.context(rng, tasks[i : i + _AT_ONCE], CONTEXT, None))[0]
        for i in range(0, count, _AT_ONCE)
    ]
    return torch.cat(means)


def between(z: Tensor, others: Tensor) -> Tensor:
    """Random points on the way from each to the other, `(particle, latent)`."""
    return z + torch.rand(len(z), 1) * (others - z)


def half_between(z: Tensor) -> Tensor:
    """The first half as it is; the second somewhere on the way to any other."""
    kept, ends = z.split((len(z) + 1) // 2)
    return torch.cat([kept, between(ends, z[torch.randperm(len(z))[: len(ends)]])])


def _covariance(z: Tensor) -> Tensor:
    return torch.cov(z.T) + 1e-6 * torch.eye(z.shape[1])


@dataclass(frozen=True)
class WithEncoder:
    """The particles, and draws of the encoder's posterior of all that was seen beside them.

    Attributes:
        bench: whose encoder.
        belief: over the particles.
        seen: the episodes.
    """

    bench: Bench
    belief: Belief
    seen: tuple[Episode, ...] = ()

    def after(self, episode: Episode) -> WithEncoder:
        return replace(self, belief=self.belief.after(episode), seen=(*self.seen, episode))

    def choose(self) -> Tensor:
        if not self.seen:
            return self.belief.choose()
        z, known = self._all()
        drawn = torch.multinomial(torch.softmax(known, dim=1), 1).squeeze(1)
        return z[torch.arange(len(z)), drawn]

    def guess(self) -> Tensor:
        return likeliest_of(*self._all())

    @torch.no_grad()
    def _all(self) -> tuple[Tensor, Tensor]:
        """z's `(copy, particle, latent)` and what they explain, `(copy, particle)`."""
        contexts = [concatenate(list(one)) for one in zip(*self.seen, strict=True)]
        means, variances = zip(*map(self.bench.agent.infer, contexts), strict=True)
        mean, variance = (torch.cat(of).repeat_interleave(DRAWS, 0) for of in (means, variances))
        drawn = sample(mean, variance, torch.default_generator).unflatten(0, (-1, DRAWS))
        known = candidate_likelihood(self.bench, contexts, drawn)
        base = self.belief.z.expand(len(contexts), *self.belief.z.shape)
        return torch.cat([base, drawn], dim=1), torch.cat([self.belief.known, known], dim=1)
