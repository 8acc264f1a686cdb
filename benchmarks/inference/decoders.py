"""Ablation of the decoder: made worse on purpose, until the encoder is the better one to ask.

The policy and the encoder stay as they are; particles are drawn, and errors measured, with each
decoder.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Generator
from torch.nn import functional as F

from benchmarks.inference.beliefs import Belief, explore, first, judged
from benchmarks.inference.bench import NUMBERS, Bench, Floats
from benchmarks.inference.tables import Row, Table
from fieldtune.train.agent.agent import Agent
from fieldtune.train.algorithms.optimisation import adam, gradient_step, per_row
from fieldtune.train.evaluation.protocol import Acted
from fieldtune.train.runs.particles import CONTEXT, RESIDUAL, offline_particles

NOISES = (0.1, 0.3, 1.0)  # of each layer's weights' root mean square
UPDATES = (30, 100, 300, 1_000, 3_000, 10_000)  # of a decoder that starts anew
_TASKS, _ROWS = 8, 64  # of an update


def decoders(bench: Bench) -> Table:
    """Each beside the encoder, which no decoder changes."""
    rows = [_row(bench, "as trained (default)", bench.agent)]
    rows += [
        _row(bench, f"noise of {share:.0%} on its weights", with_noise(bench.agent, share))
        for share in NOISES
    ]
    rows += [
        _row(bench, f"trained anew, {updates:,} updates", trained_anew(bench, updates))
        for updates in UPDATES
    ]
    rows.append(Row.of("the encoder, and no decoder", by_encoder(bench)))
    return Table("A decoder made worse", bench.measure, rows)


def _row(bench: Bench, name: str, agent: Agent) -> Row:
    horizon = bench.run.family.horizon
    particles = offline_particles(agent, bench.offline, horizon, bench.seed)
    belief = Belief.of(bench, particles, agent=agent)
    _, after = explore(bench, belief)
    facts = {"explained": explained(bench, agent), "temper": particles.temper}
    return Row.of(name, {**judged(bench, after), **first(bench, belief)}, facts)


@torch.no_grad()
def explained(bench: Bench, agent: Agent) -> float:
    """The share of the variance of rewards that the decoder explains, in the offline data of the
    tasks that were kept back, with z from other transitions of theirs."""
    rng, data = np.random.default_rng(bench.seed), bench.kept_back
    tasks = data.tasks_with_data
    z = agent.infer(data.context(rng, tasks, CONTEXT, None))[0]
    rows = data.transitions(rng, tasks, RESIDUAL)
    predicted = agent.decoder(rows.observation, rows.action, per_row(z, RESIDUAL)).squeeze(-1)
    if agent.shape.sparse_reward:
        error, seen = agent.success(rows.reward) - predicted.sigmoid(), agent.success(rows.reward)
    else:
        error, seen = rows.reward - predicted, rows.reward
    return float(1.0 - error.square().mean() / seen.var())


def by_encoder(bench: Bench) -> dict[str, Floats]:
    """The library's protocol, with the posterior that the encoder infers."""

    def worth(acted: Acted) -> Floats:
        return acted.returns if acted.successes is None else 100.0 * acted.successes

    acted = bench.evaluator.online(bench.algorithm, bench.seed).acted
    found = {f"K = {number}": worth(acted[number]) for number in NUMBERS}
    within = bench.evaluator.first_episode(bench.algorithm, bench.seed)
    return found if within is None else {**found, "first episode": worth(within)}


def with_noise(agent: Agent, share: float) -> Agent:
    """The same with noise on its decoder's weights, a share of each tensor's root mean square."""
    rng = Generator().manual_seed(0)

    def disturb(decoder: torch.nn.Module) -> None:
        for weights in decoder.parameters():
            scale = share * weights.square().mean().sqrt()
            weights.add_(scale * torch.randn(weights.shape, generator=rng))

    return _changed(agent, disturb)


def trained_anew(bench: Bench, updates: int) -> Agent:
    """The same with a decoder from the start, trained on the encoder's z and the offline data."""

    def begin(decoder: torch.nn.Module) -> None:
        for module in decoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()

    agent = _changed(bench.agent, begin)
    optimiser = adam(bench.run.config.algorithm.learning_rate, agent.decoder)
    rng, data = np.random.default_rng(bench.seed), bench.offline
    for _ in range(updates):
        tasks = [int(task) for task in rng.choice(data.tasks_with_data, size=_TASKS)]
        with torch.no_grad():
            z = agent.infer(data.context(rng, tasks, CONTEXT, None))[0]
        rows = data.transitions(rng, tasks, _ROWS)
        predicted = agent.decoder(rows.observation, rows.action, per_row(z, _ROWS)).squeeze(-1)
        if agent.shape.sparse_reward:
            loss = F.binary_cross_entropy_with_logits(predicted, agent.success(rows.reward))
        else:
            loss = F.mse_loss(predicted, rows.reward)
        gradient_step(loss, optimiser)
    return agent


@torch.no_grad()
def _changed(agent: Agent, change: Callable[[torch.nn.Module], None]) -> Agent:
    other = copy.deepcopy(agent)
    change(other.decoder)
    return other
