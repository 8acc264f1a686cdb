"""One trial of settings, judged on training tasks kept back from training.

The held-out tasks stay untouched, and what was only learned by heart does not count.

    fieldtune collect --config configs/cheetah-vel.yaml
    OMP_NUM_THREADS=1 python benchmarks/trial.py configs/cheetah-vel.yaml trials/kl \\
        --phase-2 trained algorithm.kl_weight=0.03

Prints, as training goes on: the return on the tasks kept back, in the first episode and after 1,
2, 4 and 8 of own exploration and 2 of another task's, by each inference, and with a context from
offline data, how far these lie apart in z-space, what the decoder explains of rewards, and how well
it labels what was explored. docs/lean.md is made of such trials.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.trials import explore
from fieldtune.train.algorithms.algorithm import Algorithm, Exportable
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.evaluation.measure import decoder_error, measure
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.evaluation.results import Adapted
from fieldtune.train.evaluation.statistics import shift
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.labelling import decoded_rewards, task_embeddings
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.replays import held_out_replay, offline_replay
from fieldtune.train.runs.run import Run

TASKS = 20  # kept back, or a quarter of a family's training tasks where these are few
SHOWN = (1, 2, 4, 8)  # numbers of explored episodes
LOOKS = 4  # on the way through each phase
ROBOTS = 40  # whose exploration is labelled to see how wrong labels are


def kept_back(dataset: Dataset) -> Dataset:
    """The training tasks alone, some of them, evenly spread over the list, as its held-out ones."""
    count = len(dataset.train)
    judged = np.linspace(0, count - 1, min(TASKS, count // 4)).astype(int)
    trained = np.setdiff1d(np.arange(count), judged)
    return replace(
        dataset,
        train_tasks=dataset.train_tasks[trained],
        test_tasks=dataset.train_tasks[judged],
        train=[dataset.train[task] for task in trained],
        test=[dataset.train[task] for task in judged],
    )


class Judge:
    """Evaluates an agent on the tasks that were kept back."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
        self.began = time.monotonic()

    def look(self, algorithm: Algorithm, what: str) -> None:
        """Print one line; training's random state is left as it was."""
        found = measure(self.run, self.evaluator, algorithm, 0, 0)
        seconds = time.monotonic() - self.began
        own = "  ".join(f"by {name} {_curve(adapted)}" for name, adapted in found.inferences)
        ceiling = _mean(found.offline_returns, found.offline_successes)
        print(
            f"{seconds:6.0f} s  {what:34}  own exploration {own}  offline context {ceiling}  "
            f"shift / spread {shift(found).relative:5.2f}{self._decoded(algorithm)}",
            flush=True,
        )

    def _decoded(self, algorithm: Algorithm) -> str:
        """What the decoder explains of rewards of tasks kept back, and of those trained on."""
        if not isinstance(algorithm, Exportable):
            return ""
        run, agent = self.run, algorithm.agent
        data = offline_replay(run, algorithm)
        found = decoder_error(agent, held_out_replay(run, algorithm), run.config.seed, trained=data)
        return (
            f"  decoder explains {found.explained:4.0%}, of tasks trained on {found.trained:4.0%}"
        )


def _curve(adapted: Adapted) -> str:
    """The first episode, those after `SHOWN` numbers of explored ones, and the one after two of
    another task's."""
    first = adapted.first_episode
    told = [] if first is None else [_mean(first.returns, first.successes)]
    for k in SHOWN:
        if k < len(adapted.returns):
            successes = None if adapted.successes is None else adapted.successes[k]
            told.append(_mean(adapted.returns[k], successes))
    other = adapted.swapped
    another = "" if other is None else f", another's {_mean(other.returns, other.successes)}"
    return " /".join(told) + another


def _mean(returns: list[list[float]], successes: list[list[float]] | None) -> str:
    told = f"{np.mean(returns):8.1f}"
    return told if successes is None else f"{told} ({np.mean(successes):4.0%})"


def label_error(run: Run, agent: Agent) -> str:
    """Decoder against true rewards on trajectories that `agent` explores, prior and posterior."""
    rng = np.random.default_rng(run.config.seed)
    tasks = [int(task) for task in rng.integers(len(run.dataset.train), size=ROBOTS)]
    with torch.random.fork_rng():
        torch.manual_seed(run.config.seed)
        z = task_embeddings(
            agent, offline_replay(run, agent), rng, tasks, run.config.self_supervised.label_context
        )

        def label(episode: LabelledEpisode, env: int) -> np.ndarray:
            return decoded_rewards(agent, episode, z[env])

        simulator = run.family.simulator(ROBOTS)
        truth = run.dataset.train_tasks[tasks]
        trials = explore(
            agent,
            run.family,
            simulator,
            truth,
            rng,
            prior_episodes=run.config.robot.exploration.prior_episodes,
            posterior_episodes=run.config.robot.exploration.posterior_episodes,
            acting=Acting.like_the_robot(run.config.robot.exploration),
            relabel=label,
        )
        simulator.close()
    errors, rewards = [], []
    for task, trial in zip(truth, trials, strict=True):
        for episode in trial:
            true = run.family.reward(
                episode.observations[:-1],
                episode.actions,
                episode.next_observations,
                task,
                episode.signals,
            )
            errors.append(episode.rewards - true)
            rewards.append(true)
    off, real = np.concatenate(errors), np.concatenate(rewards)
    return (
        f"labels of its exploration: error {np.sqrt(np.square(off).mean()):.3f}, bias "
        f"{off.mean():+.3f}, explain {1 - np.square(off).mean() / real.var():.2f} of the variance"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phase-2", choices=("trained", "frozen", "oracle"))
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args()  # settings on either side of an option
    torch.set_num_threads(1)
    chosen = list(given.overrides)
    if given.phase_2 == "frozen":
        chosen.append("self_supervised.encoder=frozen")
    run = open_run(load_config(given.config, overrides=chosen), given.out)
    run = replace(run, dataset=kept_back(run.dataset))
    judge = Judge(run)
    updates = run.config.offline.updates
    for turn in range(LOOKS):
        until = updates * (turn + 1) // LOOKS
        learned = require_self_supervised(run, train_offline(run, until=until))
        judge.look(learned, f"phase 1, {until} updates")
    print(label_error(run, learned.agent))
    if given.phase_2 is None:
        return
    steps = run.config.self_supervised.steps

    def look(phase: SelfSupervisedPhase) -> None:
        looked = int(phase.facts.get("looks", 0))  # type: ignore[call-overload]
        if phase.steps >= (looked + 1) * steps / LOOKS:
            phase.facts["looks"] = looked + 1
            judge.look(phase.average, f"phase 2, {phase.steps} steps")

    checkpoint = given.out / "checkpoints" / "phase-2.safetensors"
    oracle = given.phase_2 == "oracle"
    phase = train_in_process(
        run, checkpoint, true_rewards=oracle, on_caught_up=look, trials_at_once=5
    )
    judge.look(phase.average, f"phase 2, {phase.steps} steps, the end")


if __name__ == "__main__":
    main()
