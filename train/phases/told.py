"""Cloning told the task, beside phase 1: as many updates, as wide a policy, on the same data.

What lies between its success and phase 1's with an offline context is what inference costs; what it
falls short of is the actor's. Resumable at any moment.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np

from fieldtune.settings import ConfigError
from fieldtune.sim.family import TaskFamily, width
from fieldtune.sim.success import has_success, succeeded
from fieldtune.train.agent.told import ToldPolicy
from fieldtune.train.algorithms.algorithm import Metrics
from fieldtune.train.algorithms.told_cloning import Cloning, ToldCloning
from fieldtune.train.alone import training
from fieldtune.train.config import AlgorithmSettings, EncoderSettings
from fieldtune.train.device import device_of, memory_explained, resolve
from fieldtune.train.phases import averaging
from fieldtune.train.phases.loop import OnUpdate, repeat
from fieldtune.train.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.origin import TOLD, origin, require_own
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.run import Run, RunError
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import constants


def require_tellable(family: TaskFamily, settings: AlgorithmSettings) -> None:
    """Raise `ConfigError` where nothing can be cloned so: what is cloned is what succeeded, by a
    policy as wide as the algorithm's."""
    if not has_success(family):
        raise ConfigError(
            f"{TOLD} clones the episodes that succeeded, and {family.name} has no success: "
            "leave it out, or let the family say its success_reward"
        )
    if not isinstance(settings, EncoderSettings):
        raise ConfigError(
            f"{TOLD} has the policy of algorithm.networks, which {settings.name!r} has not: "
            "leave it out"
        )


def train_told(run: Run, checkpoint: Path, on_update: OnUpdate = lambda _: None) -> ToldPolicy:
    """Train to `offline.updates`, from `checkpoint` where it is there.

    Learning rate, rows of an update, `action_error_weight` and precision are the algorithm's, and
    the average of the weights is phase 1's.

    Args:
        run: whose training tasks' successes are cloned.
        checkpoint: where to save and to continue from; its stem names the curves.
        on_update: told the number of updates done after each one.

    Returns:
        The averaged weights.

    Raises:
        ConfigError: see `require_tellable`.
        RunError: no episode of the training tasks ended in success.
        TrainingDiverged: with the update and the loss; the last checkpoint stays.
        InUse: another process trains the same.
        DeviceError: the GPU's memory is full.
        CheckpointError: there is a checkpoint that cannot be gone on from, or not this run's.
    """
    require_tellable(run.family, run.config.algorithm)
    with training(checkpoint), memory_explained(run.config.device):
        return _train(run, checkpoint, on_update)


def _train(run: Run, checkpoint: Path, on_update: OnUpdate) -> ToldPolicy:
    phase = run.config.offline
    watch = Watch(checkpoint, "algorithm.learning_rate", run.config.algorithm.learning_rate)
    rng = seed_everything(run.config.seed)
    learner = _untrained(run)
    average = copy.deepcopy(learner.networks).requires_grad_(False)
    done = 0
    if checkpoint.exists():
        require_own(run, checkpoint, TOLD)
        progress = load_checkpoint(checkpoint, learner, rng)
        averaging.restore(average, progress.arrays)
        done = int(progress.facts["updates"])
        on_update(done)
    follow = partial(averaging.follow, average, learner.networks, phase.average_rate)

    def update() -> Metrics:
        metrics = learner.update(rng)
        follow()
        return metrics

    def save(done: int) -> None:
        facts = {"updates": done, **origin(run, TOLD)}
        save_checkpoint(checkpoint, learner, rng, Progress(facts, averaging.kept(average)))

    with Curves.of(run, checkpoint.stem, done) as curves:
        readings = Readings(device_of(learner), watch.look, curves.add)
        last, every = phase.updates, phase.checkpoint_every
        repeat(update, done, last, readings, every=every, save=save, on_update=on_update)
    return average


def _untrained(run: Run) -> ToldCloning:
    settings, data, family = run.config.algorithm, run.dataset, run.family
    assert isinstance(settings, EncoderSettings)
    shown = [
        (episode, task)
        for episodes, task in zip(data.train, data.train_tasks, strict=True)
        for episode in episodes
        if succeeded(family, episode)
    ]
    if not shown:
        raise RunError(
            f"{run.config.data.path}: no episode of a training task ended in success, and {TOLD} "
            "clones those: leave it out"
        )
    networks = ToldPolicy(
        family.task_fields,
        data.train_tasks,
        constants(run),
        width(family.action_fields),
        settings.networks.policy,
        settings.distribution,
    )
    cloning = Cloning(
        rows=settings.meta_batch * settings.batch,
        learning_rate=settings.learning_rate,
        error_weight=getattr(settings, "action_error_weight", 0.0),  # of those that imitate
        precision=settings.precision,
        edge=settings.distribution.action_edge,
    )
    episodes, tasks = zip(*shown, strict=True)
    return ToldCloning(networks, episodes, np.array(tasks), cloning, resolve(run.config.device))
