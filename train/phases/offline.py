"""Phase 1: meta-training on the fixed, labelled dataset, resumable at any moment.

The configured algorithm's, or a baseline's beside it; each has a checkpoint of its own.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.alone import training
from fieldtune.train.device import device_of, memory_explained
from fieldtune.train.phases import averaging
from fieldtune.train.phases.loop import OnUpdate, repeat
from fieldtune.train.phases.updates import nothing, offline_updates
from fieldtune.train.runs.checkpoint import Progress, load_checkpoint, save_checkpoint
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.methods import as_method, checkpoint_of
from fieldtune.train.runs.origin import origin, require_own
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import untrained
from fieldtune.train.runs.warm_start import load_start


def train_offline(
    run: Run,
    *,
    name: str | None = None,
    until: int | None = None,
    on_update: OnUpdate = lambda _: None,
) -> Algorithm:
    """Train to `offline.updates`, or to `until` if that is less; continue from a checkpoint.

    A run stopped at any checkpoint and resumed equals one never stopped, bit for bit on a CPU.
    Returned are the weights that it leaves: the last, or their average (`offline.average_rate`).

    Args:
        name: an algorithm; the configured one where not given. Those with the same networks start
            from the same weights and see the same draws, where `methods` sets nothing else.
        until: updates in all.
        on_update: told the number of updates done after each one.

    Raises:
        TrainingDiverged: with the update and the loss; the last checkpoint stays.
        InUse: another process trains the same.
        DeviceError: the GPU's memory is full.
        CheckpointError: there is a checkpoint that cannot be gone on from, or not this run's.
    """
    name = name or run.config.algorithm.name
    with training(checkpoint_of(run, name)) as checkpoint, memory_explained(run.config.device):
        return _train(run, name, checkpoint, until, on_update)


def _train(
    run: Run, name: str, checkpoint: Path, until: int | None, on_update: OnUpdate
) -> Algorithm:
    method = as_method(run, name)
    phase, settings = run.config.offline, method.config.algorithm
    watch = Watch(checkpoint, "algorithm.learning_rate", settings.learning_rate)
    rng = seed_everything(run.config.seed)
    learner = untrained(method)
    if name == run.config.algorithm.name:
        load_start(run, learner)
    average, follow = None, nothing
    if phase.average_rate < 1.0:
        average = copy.deepcopy(learner.networks).requires_grad_(False)
        follow = partial(averaging.follow, average, learner.networks, phase.average_rate)
    done = 0
    if checkpoint.exists():
        require_own(run, checkpoint, checkpoint.stem)
        progress = load_checkpoint(checkpoint, learner, rng)
        if average is not None:
            averaging.restore(average, progress.arrays)
        done = int(progress.facts["updates"])
        on_update(done)
    last = phase.updates if until is None else min(until, phase.updates)
    if done < last:
        update = offline_updates(
            learner, offline_replay(method, learner), rng, method.config, follow
        )

        def save(done: int) -> None:
            facts = {"updates": done, **origin(run, checkpoint.stem)}
            arrays = {} if average is None else averaging.kept(average)
            save_checkpoint(checkpoint, learner, rng, Progress(facts, arrays))

        with Curves.of(run, checkpoint.stem, done) as curves:
            readings = Readings(device_of(learner), watch.look, curves.add)
            every = phase.checkpoint_every
            repeat(update, done, last, readings, every=every, save=save, on_update=on_update)
    if average is not None:
        learner.networks.load_state_dict(average.state_dict())
    return learner
