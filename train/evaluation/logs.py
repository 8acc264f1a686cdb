"""What held-out logs say of a run whose family has no simulator: nothing acts here.

Half of each held-out task's episodes say what z is, and the other half is asked. Knows networks and
episodes; what a policy would earn cannot be known from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import Particles, of_transitions
from fieldtune.train.agent.units import context_of
from fieldtune.train.data.replay import Batch
from fieldtune.train.device import memory_explained, to_numpy
from fieldtune.train.evaluation.measure import trained_phases
from fieldtune.train.evaluation.results import EvaluationError, Inference
from fieldtune.train.runs.added_decoder import decoded
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run


@dataclass(frozen=True)
class LogsPhase:
    """One phase on the held-out tasks' logs; lists are by task, in the dataset's order.

    Attributes:
        updates, steps: gradient steps of this phase, reward-free steps it learned from.
        likelihood: the decoder's mean log-likelihood of a reward, in nats, with z of the task's
            other episodes. Of densities in the unit of a standard deviation of the training rewards
            where these are not sparse.
        by_mean: the same of a predictor that knows the training rewards' mean and spread alone.
        ranks: by number of episodes seen, `[episode][task]`: the place of the task's own z among
            all held-out tasks' by likelihood; 1 is the likeliest, and equals share their places.
        own_error: the root mean square difference of the policy's mean action from those of the
            task's better episodes, in half ranges of an action, with z of its other episodes.
        other_error: the same with the other tasks' z, mean over them.
    """

    updates: int
    steps: int
    likelihood: list[float]
    by_mean: list[float]
    ranks: list[list[float]]
    own_error: list[float]
    other_error: list[float]


@dataclass(frozen=True)
class LogsEvaluation:
    """What a report on logs is drawn from; `phases` has `before`, and `after` if trained."""

    family: str
    robot: str
    seed: int
    dataset: str
    inference: Inference
    phases: dict[str, LogsPhase]


def evaluate_logs(
    run: Run, advance: Callable[[int, int], None] = lambda *_: None
) -> LogsEvaluation:
    """Measure each trained phase on the held-out tasks' episodes.

    Raises:
        EvaluationError: no phase was trained, or there are too few held-out tasks or episodes.
        CheckpointError: a phase is not this run's.
        RunError: the algorithm has no reward decoder, and none can be given to it.
        DeviceError: the GPU's memory is full.
    """
    with memory_explained(run.config.device):
        trained = trained_phases(run)
        if not trained:
            raise EvaluationError(f"{run.folder}: nothing trained yet; run `fieldtune train` first")
        contexts, asked = halves(run.dataset.test)
        phases: dict[str, LogsPhase] = {}
        for name, (algorithm, updates, steps) in trained.items():
            advance(len(phases), len(trained))
            agent = decoded(run, algorithm).agent
            inferring = by_likelihood(run, agent, offline_replay(run, algorithm))
            z = torch.cat([_inferred(run, inferring, each) for each in contexts])
            phases[name] = measure_logs(agent, inferring.particles, z, asked, updates, steps)
        advance(len(phases), len(trained))
    return LogsEvaluation(
        family=run.family.name,
        robot=run.family.robot,
        seed=run.config.seed,
        dataset=run.dataset.id,
        inference=run.config.inference,
        phases=phases,
    )


def halves(
    held_out: list[list[LabelledEpisode]],
) -> tuple[list[list[LabelledEpisode]], list[list[LabelledEpisode]]]:
    """Each task's episodes by turns: what z is inferred from, and what is asked of it.

    Raises `EvaluationError` where there are less than two tasks, or than two episodes of one.
    """
    if len(held_out) < 2:
        raise EvaluationError(
            f"the data hold out {len(held_out)} task: two or more are needed to tell them apart"
        )
    for task, episodes in enumerate(held_out):
        if len(episodes) < 2:
            raise EvaluationError(
                f"held-out task {task} has {len(episodes)} episode: two or more are needed, one to "
                "infer it from and another to ask"
            )
    return [each[::2] for each in held_out], [each[1::2] for each in held_out]


@torch.no_grad()
def measure_logs(
    agent: Agent,
    particles: Particles,
    z: Tensor,
    asked: list[list[LabelledEpisode]],
    updates: int,
    steps: int,
) -> LogsPhase:
    """What `asked` says of z.

    Args:
        agent: whose decoder and policy are judged.
        particles: that say how far the decoder is off on training data.
        z: inferred from other episodes of each task, `(task, latent)`.
        asked: each task's episodes, in physical units.
        updates, steps: that are behind it, for the record.
    """
    likelihood, by_mean, totals, own, other = [], [], [], [], []
    for task, episodes in enumerate(asked):
        rows = [context_of(agent, [episode]) for episode in episodes]
        found = [_log_likelihoods(agent, particles, batch, z) for batch in rows]
        likelihood.append(float(torch.cat(found)[:, task].mean()))
        by_mean.append(float(torch.cat([_of_mean(agent, batch) for batch in rows]).mean()))
        totals.append(torch.stack([each.sum(dim=0) for each in found]).cumsum(dim=0))
        errors = _action_errors(agent, context_of(agent, better(episodes)), z)
        own.append(float(errors[task]))
        other.append(float((errors.sum() - errors[task]) / (len(errors) - 1)))
    fewest = min(len(total) for total in totals)
    ranks = [
        [_rank(total[seen], task) for task, total in enumerate(totals)] for seen in range(fewest)
    ]
    return LogsPhase(updates, steps, likelihood, by_mean, ranks, own, other)


def better(episodes: list[LabelledEpisode]) -> list[LabelledEpisode]:
    """The half with the higher mean reward; the best one, of one or two."""
    order = np.argsort([-float(episode.rewards.mean()) for episode in episodes], kind="stable")
    return [episodes[i] for i in order[: max(1, len(episodes) // 2)]]


def _rank(totals: Tensor, task: int) -> float:
    """The place of `task` among `totals` `(task,)`, from 1."""
    above, equal = (totals > totals[task]).sum(), (totals == totals[task]).sum() - 1
    return float(1 + above + equal / 2)


def _inferred(run: Run, inferring: ByLikelihood, episodes: list[LabelledEpisode]) -> Tensor:
    """z of one task, `(1, latent)`, as the run infers it."""
    context = context_of(inferring, episodes)
    if run.config.inference == "encoder":
        with torch.no_grad():
            return inferring.agent.infer(context)[0]
    return inferring.adapt([context]).z


def _log_likelihoods(agent: Agent, particles: Particles, rows: Batch, z: Tensor) -> Tensor:
    """Of each reward of `(1, transition, ...)` under each task's z, `(transition, task)`."""
    plain = replace(particles, temper=1.0, change_variance=None)
    found = of_transitions(agent, plain, rows, z.unsqueeze(0)).squeeze(0)
    if agent.shape.sparse_reward:
        return found
    return found - 0.5 * math.log(2 * math.pi * particles.reward_variance)


def _of_mean(agent: Agent, rows: Batch) -> Tensor:
    """The same, `(transition,)`, of the training rewards' mean and spread: 0 and 1 in its units."""
    if agent.shape.sparse_reward:
        share = agent.success(rows.reward.new_zeros(())).clamp(1e-4, 1 - 1e-4)
        success = agent.success(rows.reward[0])
        return -F.binary_cross_entropy(share.expand_as(success), success, reduction="none")
    constants = agent.normalisation
    reward = rows.reward[0].clamp(constants.reward_low, constants.reward_high)
    return -0.5 * (reward.square() + math.log(2 * math.pi))


def _action_errors(agent: Agent, rows: Batch, z: Tensor) -> np.ndarray:
    """Root mean squares over transitions and components, `(task,)`, with each task's z."""
    found = []
    for each in z:
        mean, _ = agent.policy(rows.observation[0], each.expand(rows.observation.shape[1], -1))
        found.append((torch.tanh(mean) - rows.action[0]).square().mean().sqrt())
    return to_numpy(torch.stack(found).double())
