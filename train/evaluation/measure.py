"""Everything a run is judged by, measured once on its held-out tasks and kept as JSON.

Collects the numbers of `fieldtune.train.evaluation.protocol` over the phases that were trained;
does not draw them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldtune.sim.label_only import require_simulator
from fieldtune.sim.rollout import mean_return, random_episodes
from fieldtune.sim.scripted import scripted
from fieldtune.sim.success import has_success, success_rate
from fieldtune.train.agent.actor import Adaptive
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.networks import DynamicsDecoder
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Algorithm, Exportable
from fieldtune.train.algorithms.optimisation import per_row
from fieldtune.train.cores import workers
from fieldtune.train.data.replay import Batch, Replay
from fieldtune.train.device import memory_explained, to_numpy
from fieldtune.train.evaluation.calibration import calibration
from fieldtune.train.evaluation.protocol import Acted, Evaluator
from fieldtune.train.evaluation.results import (
    Adapted,
    DecoderError,
    DynamicsExplained,
    Evaluation,
    EvaluationError,
    FirstEpisode,
    Inference,
    PhaseResult,
    Swapped,
)
from fieldtune.train.runs.added_decoder import decoded
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
        RunError: the algorithm has no reward decoder, which is a part of what is measured, and
            none can be given to it.
        DeviceError: the GPU's memory is full.
    """
    require_simulator(run.family, "fieldtune evaluate")
    with memory_explained(run.config.device):
        return _evaluate(run, advance)


def _evaluate(run: Run, advance: Callable[[int, int], None]) -> Evaluation:
    trained = trained_phases(run)
    if not trained:
        raise EvaluationError(f"{run.folder}: nothing trained yet; run `fieldtune train` first")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    first = trained["before"][0]
    decoding = decoded(run, first).agent
    phases: dict[str, PhaseResult] = {}
    try:
        for name, (algorithm, updates, steps) in trained.items():
            advance(len(phases), len(trained))
            phases[name] = measure(run, evaluator, algorithm, updates, steps)
        advance(len(phases), len(trained))
    finally:
        evaluator.close()
    seeds = np.arange(REFERENCE_SEEDS, dtype=np.int64)
    threads = workers(run.config.workers)
    random = random_episodes(run.family, run.dataset.test_tasks, seeds, threads)
    scripted_return, scripted_success = _scripted(run, seeds, threads)
    return Evaluation(
        family=run.family.name,
        seed=run.config.seed,
        dataset=run.dataset.id,
        period_s=run.family.period_s,
        phases=phases,
        decoder=decoder_error(
            decoding,
            held_out_replay(run, first),
            run.config.seed,
            trained=offline_replay(run, first),
        ),
        random=mean_return(random),
        scripted=scripted_return,
        random_success=success_rate(run.family, random),
        scripted_success=scripted_success,
    )


def measure(
    run: Run, evaluator: Evaluator, algorithm: Algorithm, updates: int, steps: int
) -> PhaseResult:
    """Adaptation from own exploration, by each inference, and from offline contexts.

    Args:
        run: whose seed decides start states and draws, the same for everyone, and whose data
            contexts and particles are drawn from.
        evaluator: of its held-out tasks.
        algorithm: what adapts to them.
        updates, steps: that are behind it, for the record.
    """
    seed = run.config.seed
    from_offline = evaluator.offline(algorithm, held_out_replay(run, algorithm), seed)
    found = {name: adapted(evaluator, by, seed) for name, by in _inferences(run, algorithm)}
    return PhaseResult(
        encoder=found["encoder"],
        likelihood=found.get("likelihood"),
        offline_returns=from_offline.returns.tolist(),
        offline_embeddings=from_offline.embeddings.tolist(),
        updates=updates,
        steps=steps,
        offline_successes=_listed(from_offline.successes),
    )


def reached(run: Run, evaluator: Evaluator, algorithm: Algorithm) -> dict[Inference, Acted]:
    """What tables quote, by each inference, and nothing else: for a look while training goes on.

    Args:
        run, evaluator, algorithm: as `measure`'s.
    """
    return {
        name: evaluator.online(by, run.config.seed, only=evaluator.quoted).acted[0]
        for name, by in _inferences(run, algorithm)
    }


def _inferences(run: Run, algorithm: Algorithm) -> Iterator[tuple[Inference, Adaptive]]:
    """The same weights by each inference; by likelihood where they have a decoder, or are given
    one."""
    yield "encoder", algorithm
    if isinstance(algorithm, Exportable):
        agent, offline = decoded(run, algorithm).agent, offline_replay(run, algorithm)
        yield "likelihood", by_likelihood(run, agent, offline)


def adapted(evaluator: Evaluator, adaptive: Adaptive, seed: int) -> Adapted:
    """One inference: the whole curve, and the first episode followed step by step."""
    online, first = evaluator.online(adaptive, seed), evaluator.first_episode(adaptive, seed)
    particles = [one.effective_particles for one in online.acted]
    unlike = [one.unlike for one in online.acted]
    return Adapted(
        returns=online.curve.tolist(),
        embeddings=online.quoted.embeddings.tolist(),
        first_episode=None
        if first is None
        else FirstEpisode(first.returns.tolist(), first.rewards.tolist(), _listed(first.successes)),
        successes=_listed(online.successes),
        effective_particles=[n for n in particles if n is not None] or None,
        unlike=[share for share in unlike if share is not None] or None,
        swapped=None
        if online.swapped is None
        else Swapped(online.swapped.returns.tolist(), _listed(online.swapped.successes)),
    )


def _listed(values: NDArray[np.float64] | None) -> list | None:
    return None if values is None else values.tolist()


@torch.no_grad()
def decoder_error(
    agent: Agent, held_out: Replay, seed: int, *, trained: Replay | None = None
) -> DecoderError:
    """How well r(s,a,z) predicts rewards of tasks it never saw, in the family's reward units.

    Args:
        agent: whose encoder gives z and whose decoder is judged.
        held_out: the held-out tasks' data, in the agent's training units.
        seed: of the draws.
        trained: the training tasks' data, for how much of theirs it explains.
    """
    told = _told(agent, held_out, seed)
    judged = None
    if told.probability is not None:
        happened = agent.success(told.batch.reward) > 0.5
        probability = to_numpy(told.probability.flatten().double())
        judged = calibration(probability, to_numpy(happened.flatten()))
    return DecoderError(
        root_mean_square=told.squared_error**0.5 * agent.normalisation.reward_std,
        explained=told.explained,
        calibration=judged,
        dynamics=None if agent.dynamics is None else _dynamics(agent.dynamics, told.batch, told.z),
        trained=None if trained is None else _told(agent, trained, seed).explained,
    )


class _Told(NamedTuple):
    """Rewards as the decoder tells them, in training units.

    Attributes:
        batch: `(task, transition, ...)`.
        z: of another draw of the same tasks' data, `(task, latent)`.
        predicted: `(task, transition)`.
        probability: of success, where rewards are sparse.
    """

    batch: Batch
    z: Tensor
    predicted: Tensor
    probability: Tensor | None

    @property
    def squared_error(self) -> float:
        return float((self.predicted - self.batch.reward).square().mean())

    @property
    def explained(self) -> float:
        return 1.0 - self.squared_error / float(self.batch.reward.var())


def _told(agent: Agent, data: Replay, seed: int) -> _Told:
    rng, transitions = np.random.default_rng(seed), 512
    tasks = data.tasks_with_data
    z = agent.infer(data.context(rng, tasks, 256, trajectories=None))[0]
    batch = data.transitions(rng, tasks, transitions)
    predicted = agent.decoder(batch.observation, batch.action, per_row(z, transitions)).squeeze(-1)
    if not agent.shape.sparse_reward:
        return _Told(batch, z, predicted, None)
    probability = torch.sigmoid(predicted)
    return _Told(batch, z, agent.standardised(probability - 1.0), probability)


def _dynamics(dynamics: DynamicsDecoder, batch: Batch, z: Tensor) -> DynamicsExplained:
    """`batch` of each task, `(task, transition, ...)`, with z `(task, latent)` from other data."""
    tasks, transitions = batch.reward.shape
    change = (batch.next_observation - batch.observation).flatten(0, 1)

    def explained(z: Tensor) -> float:
        predicted = dynamics(batch.observation, batch.action, per_row(z, transitions))
        return 1.0 - float(losses.dynamics_loss(predicted.flatten(0, 1), change))

    others = [explained(z.roll(turn, dims=0)) for turn in range(1, tasks)]
    return DynamicsExplained(explained(z), float(np.mean(others)) if others else explained(z))


def trained_phases(run: Run) -> dict[str, tuple[Algorithm, int, int]]:
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


def _scripted(run: Run, seeds: np.ndarray, threads: int) -> tuple[float | None, float | None]:
    """Return and success of the family's script, where it has one, and says so."""
    script, tasks = scripted(run.family), run.dataset.test_tasks
    if script is None:
        return None, None
    found = script.scripted_return(run.family, tasks, seeds, threads)
    acted = getattr(script, "scripted_episodes", None)
    if acted is None or not has_success(run.family):
        return found, None
    episodes = acted(run.family, tasks, seeds, threads)
    return found, success_rate(run.family, episodes)
