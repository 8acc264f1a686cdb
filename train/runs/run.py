"""A run's folder and what is built from its configuration.

RUN/config.yaml      the resolved configuration
RUN/data.sha256      the digest of the data that it was made from
RUN/checkpoints/     offline, self-supervised, oracle, meta-bc and pearl .safetensors
RUN/bundles/         `latest.bundle`, the one published last
RUN/tensorboard/     learning curves
RUN/report.html      figures and numbers
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fieldtune import settings
from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.sim.family import TaskFamily, bounds
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation, Normalised
from fieldtune.train.agent.units import to_training_units
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.algorithms.registry import fresh
from fieldtune.train.config import AlgorithmSettings, RunConfig
from fieldtune.train.data.dataset import Dataset, read_dataset
from fieldtune.train.data.randomise import CannotRandomise, randomised
from fieldtune.train.data.replay import Lookahead, Replay
from fieldtune.train.runs.config_file import load_config

DATA = "data.sha256"


class RunError(UserError):
    """The run cannot go on as asked. The message says why and what to do."""


@dataclass(frozen=True)
class Run:
    """A configuration, its folder, its family and its data."""

    config: RunConfig
    folder: Path
    family: TaskFamily
    dataset: Dataset

    @property
    def exploration_family(self) -> TaskFamily:
        """What is explored in process: the family, varying as `randomisation` says."""
        return randomised(self.family, self.config.randomisation)

    @property
    def offline_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "offline.safetensors"

    @property
    def finetune_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "self-supervised.safetensors"

    @property
    def oracle_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "oracle.safetensors"

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def curves(self) -> Path:
        return self.folder / "tensorboard"

    def algorithm(self, learning_rate: float | None = None, name: str | None = None) -> Algorithm:
        """One that has learned nothing; its weights depend on torch's global random state.

        Args:
            learning_rate: the one of phase 1 where not given.
            name: the configured algorithm where not given.
        """
        low, high = bounds(self.family.action_fields)
        data = self.dataset
        observations, rewards = data.observations(), data.rewards()
        normalisation = Normalisation.of(observations, rewards, low, high).guarded(
            self.family.observation_fields, observations, data.next_observations(), rewards
        )
        shape = Shape(
            observation=len(normalisation.observation_mean),
            action=len(low),
            next_in_context=self.family.dynamics_vary,
            sparse_reward=self.family.sparse_reward,
        )
        settings = self.config.algorithm
        rate = settings.learning_rate if learning_rate is None else learning_rate
        return fresh(name or settings.name, shape, normalisation, settings, rate)

    def learner(self, learning_rate: float, seed: int) -> tuple[Algorithm, np.random.Generator]:
        """A fresh algorithm and the generator of its draws, both from `seed`."""
        rng = seed_everything(seed)
        return self.algorithm(learning_rate), rng

    def offline_replay(self, trained: Normalised) -> Replay:
        """The training tasks' offline data in the training units of `trained`."""
        return filled_replay(trained, self.config.algorithm, self.dataset.train)

    def held_out_replay(self, trained: Normalised) -> Replay:
        """The held-out tasks' offline data: contexts to measure with, never trained on."""
        return filled_replay(trained, self.config.algorithm, self.dataset.test)


def open_run(config: RunConfig, folder: Path) -> Run:
    """Check that family and dataset fit, then create the folder with the resolved configuration.

    Raises:
        DatasetError, ConfigError: nothing was created.
        RunError: the folder holds a run of another configuration, or of other data.
    """
    family = make_family(config.family, **config.family_options)
    if family.dynamics_vary and config.self_supervised.labels > 1:
        raise RunError(
            f"self_supervised.labels is {config.self_supervised.labels}, but tasks of "
            f"{family.name!r} differ in their dynamics: a trajectory has only its own label; set 1"
        )
    try:
        randomised(family, config.randomisation)
    except CannotRandomise as error:
        raise RunError(str(error)) from error
    dataset = read_dataset(Path(config.data.path), family)
    if config.algorithm.n_step > 1 and dataset.thinned:
        raise RunError(
            f"algorithm.n_step is {config.algorithm.n_step}, but {config.data.path} has episodes "
            "with steps left out: nothing is known of what came next; set 1"
        )
    known = folder / "config.yaml"
    if known.exists():
        before = load_config(known)
        changed = first_difference(before.model_dump(), config.model_dump())
        if changed is not None:
            raise RunError(
                f"{folder} holds a run with another {changed}; "
                "give the new run a folder of its own with --run"
            )
        _require_same_data(folder, dataset, config.data.path)
    else:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / DATA, f"{dataset.digest}\n".encode())
        settings.dump(config, known)
    return Run(config, folder, family, dataset)


def _require_same_data(folder: Path, dataset: Dataset, path: str) -> None:
    """Held-out tasks, normalisation and what a bundle says of its data are all the first data's."""
    known, digest = folder / DATA, dataset.digest
    if not known.exists():  # a run from before this was kept
        write_atomically(known, f"{digest}\n".encode())
    elif known.read_text(encoding="ascii").strip() != digest:
        raise RunError(
            f"{folder} was made from other data than {path} holds now ({known} has their digest): "
            "put them back, or give the new run a folder of its own with --run"
        )


def empty_replay(
    trained: Normalised, settings: AlgorithmSettings, tasks: int, steps: int
) -> Replay:
    """Room for `steps` transitions of `tasks`, which look ahead as the critic does."""
    constants = trained.normalisation
    sizes = len(constants.observation_mean), len(constants.action_centre)
    far = Lookahead(settings.n_step, settings.discount) if settings.n_step > 1 else None
    return Replay(tasks, steps, *sizes, far)


def filled_replay(
    trained: Normalised, settings: AlgorithmSettings, data: list[list[LabelledEpisode]]
) -> Replay:
    """Each task's episodes, `data[task]`, in training units."""
    steps = sum(len(episode.actions) for episodes in data for episode in episodes)
    replay = empty_replay(trained, settings, len(data), steps)
    for task, episodes in enumerate(data):
        for episode in episodes:
            replay.add(task, to_training_units(trained, episode))
    return replay


def first_difference(before: dict, after: dict, above: str = "") -> str | None:
    """The first key whose value changed; the robot's section may change freely. Keys that only one
    of them has came or went with a version."""
    for key in before:
        if key not in after or (not above and key == "robot"):
            continue
        where = f"{above}{key}"
        old, new = before[key], after[key]
        if isinstance(old, dict) and isinstance(new, dict):
            inner = first_difference(old, new, f"{where}.")
            if inner is not None:
                return inner
        elif old != new:
            return f"{where} ({old!r}, now {new!r})"
    return None


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch's global stream (z, actions, initial weights); return the generator for draws."""
    torch.manual_seed(seed)
    return np.random.default_rng(seed)
