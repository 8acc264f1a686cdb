"""Ablation of phase 2: what explores in it, and whose contexts the encoder learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.inference.bench import NUMBERS, Bench, Floats
from benchmarks.inference.tables import Row, Table
from fieldtune.train.agent.actor import Adaptive
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.runs.particles import offline_particles

VARIANTS: dict[str, tuple[str, str]] = {  # inference that explores, and contexts
    "explored by likelihood, contexts of offline data (default)": ("likelihood", "offline"),
    "explored by likelihood, contexts of both": ("likelihood", "both"),
    "explored by the encoder, contexts of offline data": ("encoder", "offline"),
    "explored by the encoder, contexts of both": ("encoder", "both"),
}


def phase_two(bench: Bench) -> Table:
    """Each variant trained in the run's folder, or gone on with; by likelihood at test, and the
    encoder's return beside it."""
    rows = []
    for name, (inference, contexts) in VARIANTS.items():
        agent = _trained(bench, inference, contexts)
        by = _by_likelihood(bench, agent)
        cells = _curve(bench, by) | _first(bench, by)
        encoder = {f"encoder, {k}": float(v.mean()) for k, v in _curve(bench, agent).items()}
        rows.append(Row.of(name, cells, encoder))
    before = _by_likelihood(bench, bench.agent)
    rows.append(Row.of("before phase 2", _curve(bench, before) | _first(bench, before)))
    return Table("Phase 2", bench.measure, rows)


def _trained(bench: Bench, inference: str, contexts: str) -> Agent:
    config = bench.run.config
    settings = config.self_supervised.model_copy(update={"contexts": contexts})
    changed: dict[str, Any] = {"inference": inference, "self_supervised": settings}
    run = replace(bench.run, config=config.model_copy(update=changed))
    checkpoint = run.offline_checkpoint.with_stem(f"{inference}-{contexts}")
    average = train_in_process(run, checkpoint, true_rewards=False).average.networks
    assert isinstance(average, Agent)
    return average


def _by_likelihood(bench: Bench, agent: Agent) -> ByLikelihood:
    horizon = bench.run.family.horizon
    return ByLikelihood(agent, offline_particles(agent, bench.offline, horizon, bench.seed))


def _curve(bench: Bench, adaptive: Adaptive) -> dict[str, Floats]:
    curve = bench.measured(bench.evaluator.online(adaptive, bench.seed).acted)
    return {f"K = {number}": curve[number] for number in NUMBERS}


def _first(bench: Bench, by: ByLikelihood) -> dict[str, Floats]:
    within = bench.evaluator.first_episode(by, bench.seed)
    return {} if within is None else {"first episode": bench.measured([within])[0]}
