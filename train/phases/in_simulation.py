"""Phase 2 without a robot: exploration in the batched simulator of this process.

With true rewards it is the online oracle that self-supervision is measured against; with the
decoder's it is the loop of `fieldtune finetune` minus the bridge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fieldtune.sim.family import Array, BatchSimulator
from fieldtune.sim.label_only import require_simulator
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.trials import explore
from fieldtune.train.alone import training
from fieldtune.train.cores import workers
from fieldtune.train.data.admission import problem
from fieldtune.train.data.randomise import randomised
from fieldtune.train.device import device_of, memory_explained
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.phases.stopping import between_updates
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.inference import inferring
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.run import Run, RunError

log = logging.getLogger(__name__)

TRIALS_AT_ONCE = 16


def train_in_process(
    run: Run,
    checkpoint: Path,
    *,
    true_rewards: bool,
    on_update: Callable[[int], None] = lambda _: None,
    on_caught_up: Callable[[SelfSupervisedPhase], None] = lambda _: None,
    trials_at_once: int = TRIALS_AT_ONCE,
) -> SelfSupervisedPhase:
    """Run phase 2 to `self_supervised.updates`, continuing from its own checkpoint.

    Data arrives at the same rate per update as it does from a robot, so that methods compare.

    Args:
        true_rewards: label exploration with the family's reward (the oracle), not the decoder's.
        checkpoint: where to save and to continue from; its stem names the curves.
        on_caught_up: told the phase each time that it has learned all it may from its data, before
            more is collected. Not told at the end.
        trials_at_once: how many robots explore side by side; also how much data comes at a time.

    Raises:
        TrainingDiverged: with the update and the loss; the last checkpoint stays.
        InUse: another process trains the same.
        DeviceError: the GPU's memory is full.
    """
    require_simulator(run.family, "exploration in this process")
    with training(checkpoint), memory_explained(run.config.device):
        return _train(run, checkpoint, true_rewards, on_update, on_caught_up, trials_at_once)


def _train(
    run: Run,
    checkpoint: Path,
    true_rewards: bool,
    on_update: Callable[[int], None],
    on_caught_up: Callable[[SelfSupervisedPhase], None],
    trials_at_once: int,
) -> SelfSupervisedPhase:
    phase = SelfSupervisedPhase(run, true_rewards=true_rewards)
    settings = run.config.self_supervised
    if checkpoint.exists():
        phase.restore(checkpoint)
        on_update(phase.updates)
        if phase.updates >= settings.updates:
            return phase  # the file is left, so that what was made of it is seen to be newer
    watch = Watch(checkpoint, "self_supervised.learning_rate", settings.learning_rate)
    exploring = randomised(run.family, run.config.randomisation)
    simulator = exploring.simulator(trials_at_once, workers(run.config.workers))
    try:
        with (
            Curves.of(run, checkpoint.stem, phase.updates) as curves,
            between_updates() as stopped,
        ):
            readings = Readings(device_of(phase.learner), watch.look, curves.add)
            while phase.updates < settings.updates and not stopped():
                if phase.updates >= phase.allowed_updates and not phase.full:
                    on_caught_up(phase)
                    if stopped():
                        break
                    _collect(run, phase, simulator)
                    continue
                metrics = phase.update()
                readings.add(phase.updates, metrics)
                on_update(phase.updates)
                if phase.updates % settings.checkpoint_every == 0:
                    readings.read()
                    phase.save(checkpoint)
            readings.read()
            if phase.updates:  # one of none would bind phase 1 as it is, for nothing
                phase.save(checkpoint)
    finally:
        simulator.close()
    return phase


def _collect(run: Run, phase: SelfSupervisedPhase, simulator: BatchSimulator) -> None:
    """One trial in each copy; each trial's episodes join the task it was labelled for."""
    tasks = phase.draw_tasks(simulator.n_envs)
    embeddings, settings = phase.embeddings(tasks), phase.settings

    def relabel(episode: LabelledEpisode, env: int) -> Array:
        if settings.label_z == "trajectory":
            return phase.label(episode, phase.embeddings([tasks[env]])[0])
        return phase.label(episode, embeddings[env])

    exploration = run.config.robot.exploration
    trials = explore(
        inferring(run, phase.average, phase.offline),
        run.family,
        simulator,
        run.dataset.train_tasks[tasks],
        phase.rng,
        prior_episodes=exploration.prior_episodes,
        posterior_episodes=exploration.posterior_episodes,
        acting=Acting.like_the_robot(exploration),
        relabel=None if phase.true_rewards else relabel,
        known=partial(phase.buffered, tasks) if settings.posterior_from == "buffer" else None,
    )
    wrong, added = "", 0
    for task, trial in zip(tasks, trials, strict=True):
        for episode in trial:
            found = problem(episode, run.family, phase.plausible)
            if found:
                wrong = found
                log.warning("a simulated episode is not learned from: %s", found)
            elif not phase.full:
                phase.add(task, episode)
                added += 1
    if not added:
        raise RunError(f"none of {len(trials)} simulated trials can be learned from: {wrong}")
