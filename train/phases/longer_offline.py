"""Further offline updates in the place of phase 2: the control for what phase 2's data bring.

As many updates as phase 2 has, at its learning rate, with its optimisers' beginning and its average
of the weights; and no data but phase 1's. Resumable at any moment.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

from fieldtune.train.alone import training
from fieldtune.train.device import device_of, memory_explained
from fieldtune.train.phases import averaging
from fieldtune.train.phases.loop import OnUpdate, repeat
from fieldtune.train.phases.updates import offline_updates
from fieldtune.train.runs.checkpoint import (
    Progress,
    load_checkpoint,
    load_optimisers,
    save_checkpoint,
)
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.origin import (
    LONGER_OFFLINE,
    finished_phase_1,
    origin,
    require_own,
    require_parent,
)
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import load_phase_1
from fieldtune.train.runs.untrained import untrained_from_seed


def train_longer_offline(run: Run, checkpoint: Path, on_update: OnUpdate = lambda _: None) -> None:
    """Train to `self_supervised.updates`, from the end of phase 1 or from `checkpoint`.

    `fieldtune.train.runs.trained.averaged` loads what came of it, as `LONGER_OFFLINE`.

    Args:
        run: whose phase 1 is finished.
        checkpoint: where to save and to continue from; its stem names the curves.
        on_update: told the number of updates done after each one.

    Raises:
        RunError: phase 1 is not finished.
        TrainingDiverged: with the update and the loss; the last checkpoint stays.
        InUse: another process trains the same.
        DeviceError: the GPU's memory is full.
        CheckpointError: there is a checkpoint that cannot be gone on from, or not this run's.
    """
    with training(checkpoint), memory_explained(run.config.device):
        _train(run, checkpoint, on_update)


def _train(run: Run, checkpoint: Path, on_update: OnUpdate) -> None:
    settings = run.config.self_supervised
    watch = Watch(checkpoint, "self_supervised.learning_rate", settings.learning_rate)
    parent = finished_phase_1(run)
    learner, rng = untrained_from_seed(run, settings.learning_rate, run.config.seed + 1)
    load_phase_1(run, learner.networks)
    if settings.keep_optimisers:
        load_optimisers(run.offline_checkpoint, learner)
    average = copy.deepcopy(learner.networks).requires_grad_(False)
    done = 0
    if checkpoint.exists():
        require_parent(run, checkpoint, require_own(run, checkpoint, LONGER_OFFLINE))
        progress = load_checkpoint(checkpoint, learner, rng)
        averaging.restore(average, progress.arrays)
        done = int(progress.facts["updates"])
        on_update(done)
    follow = partial(averaging.follow, average, learner.networks, settings.average_rate)
    replay = offline_replay(run, learner)
    update = offline_updates(learner, replay, rng, run.config, follow)

    def save(done: int) -> None:
        facts = {**origin(run, LONGER_OFFLINE), "parent": parent, "updates": done, "steps": 0}
        save_checkpoint(checkpoint, learner, rng, Progress(facts, averaging.kept(average)))

    with Curves.of(run, checkpoint.stem, done) as curves:
        readings = Readings(device_of(learner), watch.look, curves.add)
        last, every = settings.updates, settings.checkpoint_every
        repeat(update, done, last, readings, every=every, save=save, on_update=on_update)
