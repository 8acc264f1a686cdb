"""PEARL in the simulator, rewards given: what a study compares methods on fixed data with.

Rakelly et al. 2019 (arXiv 1903.08254, algorithm 1): trials of training tasks, first from the prior,
then from q(z|c), and updates in step with their data; contexts are of each task's latest episodes.
Of the dataset it has the units alone. Resumable at any moment.
"""

from __future__ import annotations

import copy
from pathlib import Path

from fieldtune.sim.label_only import require_simulator
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.trials import explore
from fieldtune.train.agent.units import to_training_units
from fieldtune.train.algorithms.algorithm import Algorithm, Metrics
from fieldtune.train.alone import training
from fieldtune.train.cores import workers
from fieldtune.train.data import sampling
from fieldtune.train.data.randomise import randomised
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import device_of, in_precision, memory_explained
from fieldtune.train.phases import averaging
from fieldtune.train.phases.loop import OnUpdate, repeat
from fieldtune.train.runs.checkpoint import Progress, load_checkpoint, save_checkpoint, under
from fieldtune.train.runs.curves import Curves
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.origin import ONLINE, ONLINE_METHOD, origin, require_own
from fieldtune.train.runs.readings import Readings
from fieldtune.train.runs.replays import empty_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.seeds import seed_everything
from fieldtune.train.runs.untrained import untrained

COPIES = 16  # trials at once
EXPLORED = "explored."  # of a checkpoint's arrays


def train_online(
    run: Run, checkpoint: Path, on_update: OnUpdate = lambda _: None
) -> tuple[Algorithm, int]:
    """Train to `online.updates`, from `checkpoint` where it is there.

    Args:
        run: whose training tasks are explored, and whose `algorithm` PEARL shares what it can with.
        checkpoint: where to save and to continue from; its stem names the curves.
        on_update: told the number of updates done after each one.

    Returns:
        What has learned, with the running average of its weights where phase 1 leaves that, and the
        environment's steps that it learned from.

    Raises:
        ConfigError: the two cannot share their settings.
        TrainingDiverged: with the update and the loss; the last checkpoint stays.
        InUse: another process trains the same.
        DeviceError: the GPU's memory is full.
        CheckpointError: there is a checkpoint that cannot be gone on from, or not this run's.
    """
    require_simulator(run.family, "online training")
    with training(checkpoint), memory_explained(run.config.device):
        online = _Online(run)
        try:
            return _train(run, online, checkpoint, on_update), online.replay.size
        finally:
            online.close()


class _Online:
    """The learner, its data and where they come from."""

    def __init__(self, run: Run) -> None:
        method = as_method(run, ONLINE_METHOD)
        self.run, self.settings, self.phase = run, method.config.algorithm, run.config.online
        self.rng = seed_everything(run.config.seed)
        self.learner = untrained(method)
        self.average = copy.deepcopy(self.learner.networks).requires_grad_(False)
        family, exploration = run.family, run.config.robot.exploration
        self._episodes = exploration.prior_episodes, exploration.posterior_episodes
        copies = randomised(family, run.config.randomisation)
        self._simulator = copies.simulator(COPIES, workers(run.config.workers))
        room = self.phase.steps + COPIES * sum(self._episodes) * family.horizon
        tasks = len(run.dataset.train_tasks)
        self.replay = empty_replay(self.learner, self.settings, tasks, room)
        self._latest: Replay | None = None
        self.updates = 0

    def update(self) -> Metrics:
        """One of PEARL's, and before it as many trials as it takes for the data to keep pace."""
        phase, settings = self.phase, self.settings
        share = self.updates / phase.updates
        while self.replay.size < phase.first_steps + share * (phase.steps - phase.first_steps):
            self._explore()
        if self._latest is None:
            self._latest = self.replay.latest(sum(self._episodes))
        tasks = sampling.meta_batch(self.replay, self.rng, settings)
        offline = self.run.config.offline
        context = sampling.draw_context(self._latest, self.rng, tasks, offline.context)
        batch = self.replay.transitions(self.rng, tasks, offline.batch or settings.batch)
        with in_precision(settings.precision, device_of(self.learner)):
            metrics = self.learner.update(context, batch)
        averaging.follow(self.average, self.learner.networks, offline.average_rate)
        self.updates += 1
        return metrics

    def save(self, path: Path) -> None:
        explored = {f"{EXPLORED}{name}": array for name, array in self.replay.arrays().items()}
        facts = {"updates": self.updates, "steps": self.replay.size, **origin(self.run, ONLINE)}
        arrays = explored | averaging.kept(self.average)
        save_checkpoint(path, self.learner, self.rng, Progress(facts, arrays))

    def restore(self, path: Path) -> None:
        """Raises `CheckpointError`."""
        require_own(self.run, path, ONLINE)
        progress = load_checkpoint(path, self.learner, self.rng)
        averaging.restore(self.average, progress.arrays)
        self.replay.restore(under(EXPLORED, progress.arrays))
        self.updates = int(progress.facts["updates"])

    def close(self) -> None:
        self._simulator.close()

    def _explore(self) -> None:
        """One trial in each copy, of a task of its own."""
        tasks = self.rng.integers(self.replay.tasks, size=COPIES)
        prior, posterior = self._episodes
        trials = explore(
            self.learner,
            self.run.family,
            self._simulator,
            self.run.dataset.train_tasks[tasks],
            self.rng,
            prior_episodes=prior,
            posterior_episodes=posterior,
            acting=Acting(),
        )
        for task, trial in zip(tasks.tolist(), trials, strict=True):
            for episode in trial:
                self.replay.add(task, to_training_units(self.learner, episode))
        self._latest = None


def _train(run: Run, online: _Online, checkpoint: Path, on_update: OnUpdate) -> Algorithm:
    settings, phase = online.settings, run.config.online
    watch = Watch(checkpoint, "algorithm.learning_rate", settings.learning_rate)
    if checkpoint.exists():
        online.restore(checkpoint)
        on_update(online.updates)
    with Curves.of(run, checkpoint.stem, online.updates) as curves:
        repeat(
            online.update,
            online.updates,
            phase.updates,
            Readings(device_of(online.learner), watch.look, curves.add),
            every=phase.checkpoint_every,
            save=lambda _: online.save(checkpoint),
            on_update=on_update,
        )
    online.learner.networks.load_state_dict(online.average.state_dict())
    return online.learner
