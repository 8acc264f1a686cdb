"""Phase 2: learning from exploration that the agent labels itself (for the oracle, the truth).

Owns the learner, its data and a running average of its weights. Does not know whether episodes
came over the bridge or from a simulator in this process.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.units import to_training_units
from fieldtune.train.algorithms.algorithm import Metrics, SelfSupervised
from fieldtune.train.data.plausible import beyond
from fieldtune.train.data.replay import Batch, Replay, Trajectory
from fieldtune.train.phases import averaging
from fieldtune.train.phases.labelling import decoded, decoded_rewards, task_embeddings
from fieldtune.train.phases.updates import UnionUpdates
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.checkpoint import (
    CheckpointError,
    Progress,
    load_checkpoint,
    load_optimisers,
    save_checkpoint,
    under,
)
from fieldtune.train.runs.origin import (
    ORACLE,
    SELF_SUPERVISED,
    finished_phase_1,
    origin,
    require_own,
    require_parent,
)
from fieldtune.train.runs.replays import empty_replay, offline_replay
from fieldtune.train.runs.run import Run, RunError
from fieldtune.train.runs.trained import load_phase_1
from fieldtune.train.runs.untrained import untrained_from_seed


class SelfSupervisedPhase:
    """One phase 2, from the end of a run's phase 1. Raises `RunError` where the algorithm has none.

    `average` is the same algorithm with exponentially averaged weights: what is published and
    evaluated, since single iterates swing from update to update (docs/settings.md). `labelled` is
    the exploration, which offline data precede where the two are pooled. `plausible` is
    where the numbers of what is added must be; who adds it sees to that
    (`fieldtune.train.data.admission`).
    """

    def __init__(self, run: Run, *, true_rewards: bool = False) -> None:
        self.run, self.true_rewards = run, true_rewards
        self.settings = run.config.self_supervised
        self.parent = finished_phase_1(run)
        learner, self.rng = untrained_from_seed(
            run, self.settings.learning_rate, run.config.seed + 1
        )
        self.learner = require_self_supervised(run, learner)
        load_phase_1(run, self.learner.networks)
        if self.settings.keep_optimisers:
            load_optimisers(run.offline_checkpoint, self.learner)
        self.average: SelfSupervised = copy.deepcopy(self.learner)
        self.average.networks.requires_grad_(False)
        self.offline = offline_replay(run, self.average)
        self.labelled = self._unexplored()
        self.plausible = beyond(
            run.family, [e for task in (*run.dataset.train, *run.dataset.test) for e in task]
        )
        self._offline_context = None if self._explored_contexts else run.config.offline.context
        self.updates = 0
        self._update: UnionUpdates | None = None  # made of the data that the first one finds
        self.facts: dict[str, object] = {}

    @property
    def steps(self) -> int:
        """Exploration steps learned from so far; each is stored once for each of its labels."""
        return (self.labelled.size - self._pooled) // self.settings.labels

    @property
    def full(self) -> bool:
        """Whether all the steps to train on are there."""
        return self.steps >= self.settings.steps

    @property
    def allowed_updates(self) -> int:
        """Updates that the data so far is enough for: `updates` in all, in step with `steps`."""
        if self.steps < self.settings.first_steps:
            return 0
        return int(self.settings.updates * min(1.0, self.steps / self.settings.steps))

    def draw_tasks(self, n: int) -> list[int]:
        """Training tasks for `n` trajectories."""
        return [int(task) for task in self.rng.integers(len(self.run.dataset.train), size=n)]

    def embeddings(self, tasks: list[int]) -> torch.Tensor:
        """z_r of each task's offline data, by the encoder as it is now, `(task, latent)`."""
        context = self.settings.label_context
        return task_embeddings(self.learner.agent, self.offline, self.rng, tasks, context)

    def buffered(self, tasks: list[int]) -> list[Batch]:
        """A context of each task's own, pooled buffer, in training units."""
        return [self.labelled.context(self.rng, tasks, self.settings.label_context, None)]

    def label(self, episode: LabelledEpisode, z: torch.Tensor) -> NDArray[np.float64]:
        """Decoder rewards of one trajectory, `(T,)`, in the family's units."""
        return decoded_rewards(self.learner.agent, episode, z)

    def add(self, task: int, episode: LabelledEpisode) -> None:
        """Put a labelled trajectory into `task`'s data.

        With `labels` above one it also joins that many others' with rewards of theirs: exploration
        is dear and labels cost nothing, and the encoder sees each trajectory under several z.
        """
        self._add(task, episode, to_training_units(self.average, episode))

    def add_unlabelled(
        self, episodes: Sequence[LabelledEpisode], wanted: Sequence[int | None] | None = None
    ) -> None:
        """Label trajectories whose rewards are unknown, and keep them.

        Args:
            wanted: the training task each is labelled for: the one that its robot had in mind, so
                that what it did after its context belongs to that task. None draws one.
        """
        wanted = [None] * len(episodes) if wanted is None else wanted
        known = range(len(self.run.dataset.train))
        drawn = self.draw_tasks(len(episodes))
        tasks = [
            task if task is not None and task in known else other
            for task, other in zip(wanted, drawn, strict=True)
        ]
        for task, z, episode in zip(tasks, self.embeddings(tasks), episodes, strict=True):
            self._add(task, episode, self._labelled(to_training_units(self.average, episode), z))

    def update(self) -> Metrics:
        """One gradient step on offline and labelled data together."""
        if self._update is None:
            self._update = UnionUpdates(
                self.learner,
                self.offline,
                self.labelled,
                self.rng,
                self.run.config,
                true_rewards=self.true_rewards,
                after=self._follow,
                offline_context=self._offline_context,
            )
        self.updates += 1
        return self._update()

    def save(self, path: Path) -> None:
        """Checkpoint weights, average, labelled data, random states and `facts`, atomically.

        Offline data are the dataset's, and not in it: a week's checkpoints would repeat them.

        Raises `TrainingDiverged` where any of them is not finite, and leaves the one before.
        """
        explored = self.labelled.arrays(self._pooled)
        arrays = {f"labelled.{name}": array for name, array in explored.items()}
        arrays |= averaging.kept(self.average.networks)
        facts = {
            **self.facts,
            **origin(self.run, self._phase),
            "parent": self.parent,
            "updates": self.updates,
            "steps": self.steps,
        }
        save_checkpoint(path, self.learner, self.rng, Progress(facts, arrays))

    def restore(self, path: Path) -> None:
        """Continue from `save`'s file.

        Raises:
            CheckpointError: it is no such file, or not this run's, or was begun from another
                phase 1.
        """
        require_parent(self.run, path, require_own(self.run, path, self._phase))
        before = self.learner.normalisation
        progress = load_checkpoint(path, self.learner, self.rng)
        if not self.learner.normalisation.same(before):
            raise CheckpointError(
                f"{path}: its inputs are scaled in another way than those of "
                f"{self.run.offline_checkpoint}, which was trained again since: remove the former"
            )
        self.facts = progress.facts
        self.updates = int(self.facts["updates"])  # type: ignore[call-overload]
        averaging.restore(self.average.networks, progress.arrays)
        held = under("labelled.", progress.arrays)
        explored = int(self.facts["steps"]) * self.settings.labels  # type: ignore[call-overload]
        whole = len(held["reward"]) > explored  # of an earlier version: its offline data too
        self.labelled = self._empty_replay() if whole else self._unexplored()
        self.labelled.restore(held)
        self._update = None

    def _follow(self) -> None:
        rate = self.settings.average_rate
        averaging.follow(self.average.networks, self.learner.networks, rate)

    @property
    def _pooled(self) -> int:
        """Transitions of `labelled` that are offline data."""
        return self.offline.size if self.settings.pooled else 0

    @property
    def _phase(self) -> str:
        return ORACLE if self.true_rewards else SELF_SUPERVISED

    @property
    def _explored_contexts(self) -> bool:
        """Whether the encoder learns from contexts of labelled exploration too."""
        if self.settings.contexts is None:
            return self.true_rewards or self.run.config.inference == "encoder"
        return self.settings.contexts == "both"

    def _add(self, task: int, episode: LabelledEpisode, trajectory: Trajectory) -> None:
        """`trajectory` is `episode` in training units, which only true rewards still need."""
        self._store(task, trajectory)
        others = self.draw_tasks(self.settings.labels - 1)
        if others and self.true_rewards:
            for other in others:
                rewards = self.average.normalisation.reward(self._true_rewards(episode, other))
                self._store(other, replace(trajectory, rewards=rewards))
        elif others:
            for other, z in zip(others, self.embeddings(others), strict=True):
                self._store(other, self._labelled(trajectory, z))

    def _labelled(self, trajectory: Trajectory, z: torch.Tensor) -> Trajectory:
        return replace(trajectory, rewards=decoded(self.learner.agent, trajectory, z))

    def _store(self, task: int, trajectory: Trajectory) -> None:
        bad = np.flatnonzero(~np.isfinite(trajectory.rewards))
        if len(bad):
            who = "family" if self.true_rewards else "decoder"
            raise RunError(
                f"the reward of step {bad[0]} for training task {task} is "
                f"{trajectory.rewards[bad[0]]} by the {who}, "
                "of an episode that is plausible: the run's weights are spoilt, or its signals; "
                "train offline again"
            )
        self.labelled.add(task, trajectory)

    def _true_rewards(self, episode: LabelledEpisode, task: int) -> NDArray[np.float64]:
        return self.run.family.reward(
            episode.observations[:-1],
            episode.actions,
            episode.next_observations,
            self.run.dataset.train_tasks[task],
            episode.signals,
        )

    def _unexplored(self) -> Replay:
        """What exploration is added to: empty, or the offline data where they are pooled."""
        replay = self._empty_replay()
        if self.settings.pooled:
            replay.restore(self.offline.arrays())
        return replay

    def _empty_replay(self) -> Replay:
        capacity = (self.settings.steps + self.run.family.horizon) * self.settings.labels
        tasks = len(self.run.dataset.train)
        capacity += self._pooled
        return empty_replay(self.average, self.run.config.algorithm, tasks, capacity)
