"""Everything a run is judged by, measured once on its held-out tasks and kept as JSON.

Collects the numbers of `fieldtune.train.evaluation.protocol` over the phases that were trained;
does not draw them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fieldtune.sim.registry import scripted
from fieldtune.sim.rollout import random_return
from fieldtune.train.agent.actor import Adaptive
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.likelihood import ByLikelihood
from fieldtune.train.agent.networks import DynamicsDecoder
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.data.replay import Batch, Replay
from fieldtune.train.evaluation.calibration import calibration
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.evaluation.results import (
    DecoderError,
    DynamicsExplained,
    Evaluation,
    EvaluationError,
    PhaseResult,
)
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.origin import ORACLE, SELF_SUPERVISED, require_own, require_parent
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline, averaged

REFERENCE_SEEDS = 4  # start states a task for the random and scripted references


def evaluate_run(run: Run, advance: Callable[[int, int], None] = lambda *_: None) -> Evaluation:
    """Measure each trained phase on the held-out tasks, with the same seeds for all.

    Raises:
        EvaluationError: no phase was trained.
        CheckpointError: a phase is not this run's, or a phase 2 began from another phase 1 than
            there is now.
        RunError: the algorithm has no reward decoder, which is a part of what is measured.
    """
    trained = _trained(run)
    if not trained:
        raise EvaluationError(f"{run.folder}: nothing trained yet; run `fieldtune train` first")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    first = trained["before"][0]
    decoding = require_self_supervised(run, first).agent
    held_out, offline = held_out_replay(run, first), offline_replay(run, first)
    phases: dict[str, PhaseResult] = {}
    try:
        for name, (adaptive, updates, steps) in trained.items():
            advance(len(phases), len(trained))
            seed = run.config.seed
            found = measure(evaluator, adaptive, held_out, seed, updates, steps)
            agent = require_self_supervised(run, adaptive).agent
            phases[name] = _with_likelihood(
                found, evaluator, by_likelihood(run, agent, offline), seed
            )
        advance(len(phases), len(trained))
    finally:
        evaluator.close()
    seeds = np.arange(REFERENCE_SEEDS, dtype=np.int64)
    return Evaluation(
        family=run.family.name,
        seed=run.config.seed,
        dataset=run.dataset.id,
        phases=phases,
        decoder=decoder_error(decoding, held_out, run.config.seed),
        random=random_return(run.family, run.dataset.test_tasks, seeds),
        scripted=_scripted(run, seeds),
    )


def measure(
    evaluator: Evaluator, adaptive: Adaptive, held_out: Replay, seed: int, updates: int, steps: int
) -> PhaseResult:
    """Adaptation from own exploration and from offline contexts, by the same seed for everyone.

    Args:
        evaluator: of the held-out tasks.
        adaptive: what adapts to them.
        held_out: their offline data, in its training units.
        seed: of start states and draws.
        updates, steps: that are behind it, for the record.
    """
    online = evaluator.online(adaptive, seed)
    offline = evaluator.offline(adaptive, held_out, seed)
    return PhaseResult(
        curve=online.curve.tolist(),
        offline_returns=offline.returns.tolist(),
        online_embeddings=online.embeddings.tolist(),
        offline_embeddings=offline.embeddings.tolist(),
        updates=updates,
        steps=steps,
        successes=None if online.successes is None else online.successes.tolist(),
        offline_successes=None if offline.successes is None else offline.successes.tolist(),
    )


def _with_likelihood(
    found: PhaseResult, evaluator: Evaluator, by: ByLikelihood, seed: int
) -> PhaseResult:
    """What the same agent does when it infers by its decoder's likelihood, from the same seed."""
    online, first = evaluator.online(by, seed), evaluator.first_episode(by, seed)
    return replace(
        found,
        first_episode=first.returns.tolist(),
        first_successes=None if first.successes is None else first.successes.tolist(),
        likelihood_curve=online.curve.tolist(),
        likelihood_successes=None if online.successes is None else online.successes.tolist(),
    )


@torch.no_grad()
def decoder_error(agent: Agent, held_out: Replay, seed: int) -> DecoderError:
    """How well r(s,a,z) predicts rewards of tasks it never saw, in the family's reward units.

    Args:
        agent: whose encoder gives z and whose decoder is judged.
        held_out: the held-out tasks' data, in the agent's training units.
        seed: of the draws.
    """
    rng, transitions = np.random.default_rng(seed), 512
    tasks = held_out.tasks_with_data
    context = held_out.context(rng, tasks, 256, trajectories=None)
    z = agent.infer(context)[0]
    batch = held_out.transitions(rng, tasks, transitions)
    rows = per_row(z, transitions)
    predicted = agent.decoder(batch.observation, batch.action, rows).squeeze(-1)
    judged = None
    if agent.shape.sparse_reward:
        probability = torch.sigmoid(predicted)
        happened = agent.success(batch.reward) > 0.5
        judged = calibration(probability.flatten().double().numpy(), happened.flatten().numpy())
        predicted = agent.standardised(probability - 1.0)
    squared = float((predicted - batch.reward).square().mean())
    return DecoderError(
        root_mean_square=squared**0.5 * agent.normalisation.reward_std,
        explained=1.0 - squared / float(batch.reward.var()),
        calibration=judged,
        dynamics=None if agent.dynamics is None else _dynamics(agent.dynamics, batch, z),
    )


def _dynamics(dynamics: DynamicsDecoder, batch: Batch, z: Tensor) -> DynamicsExplained:
    """`batch` of each task, `(task, transition, ...)`, with z `(task, latent)` from other data."""
    tasks, transitions = batch.reward.shape
    change = (batch.next_observation - batch.observation).flatten(0, 1)

    def explained(z: Tensor) -> float:
        predicted = dynamics(batch.observation, batch.action, per_row(z, transitions))
        return 1.0 - float(losses.dynamics_loss(predicted.flatten(0, 1), change))

    others = [explained(z.roll(turn, dims=0)) for turn in range(1, tasks)]
    return DynamicsExplained(explained(z), float(np.mean(others)) if others else explained(z))


def _trained(run: Run) -> dict[str, tuple[Algorithm, int, int]]:
    """The algorithm by phase, with the updates and reward-free steps behind them."""
    found: dict[str, tuple[Algorithm, int, int]] = {}
    if run.offline_checkpoint.exists():
        facts = read_facts(run.offline_checkpoint)
        found["before"] = (after_offline(run), int(facts["updates"]), 0)
    for name, phase, path in (
        ("after", SELF_SUPERVISED, run.finetune_checkpoint),
        ("oracle", ORACLE, run.oracle_checkpoint),
    ):
        if path.exists():
            facts = require_own(run, path, phase)
            require_parent(run, path, facts)
            algorithm = averaged(run, path, phase)
            found[name] = (algorithm, int(facts["updates"]), int(facts["steps"]))
    return found


def _scripted(run: Run, seeds: np.ndarray) -> float | None:
    """The return of the family's script, where it has one."""
    script = scripted(run.family.name)
    if script is None:
        return None
    return script.scripted_return(run.family, run.dataset.test_tasks, seeds)
