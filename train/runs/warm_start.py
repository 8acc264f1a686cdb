"""Warm starts: a new run's phase 1 begins with another run's weights.

They are kept in RUN/checkpoints/start.safetensors with what they are from, so that the run needs
its source no more. Networks are taken with the constants that their inputs are scaled by; the
range of inputs is widened to the new data. Optimisers begin anew. Knows no algorithm by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.alone import training
from fieldtune.train.config import RunConfig
from fieldtune.train.data.dataset import described
from fieldtune.train.device import random_state_kept
from fieldtune.train.runs.checkpoint import (
    AGENT,
    AVERAGE,
    Progress,
    WithConstants,
    load_networks,
    read_facts,
    save_checkpoint,
    weights_digest,
)
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.origin import start_of
from fieldtune.train.runs.run import Run, RunError
from fieldtune.train.runs.untrained import unseen, untrained


def begin_with(run: Run, source: Path) -> None:
    """Let phase 1 of `run` begin with the newest weights of the run in `source`: its phase 2's
    average where there is one, else what its phase 1 left.

    A run that began so may be asked for the same again, which changes nothing.

    Args:
        run: one that has learned nothing yet, or that began with the same weights.
        source: another run's folder.

    Raises:
        RunError: `source` is no run, is of other fields, networks or latent size, or `run` has
            begun in another way. Nothing has changed.
        CheckpointError: the weights cannot be read.
    """
    checkpoint, prefix, start = require_start(run.config, run.folder, source)
    if run.start.exists():
        return
    with random_state_kept():
        learner = untrained(run)
    fresh, networks = learner.normalisation, learner.networks
    load_networks(checkpoint, networks, prefix)
    if isinstance(networks, WithConstants):
        networks.normalisation = networks.normalisation.reaching(fresh).without(unseen(run))
    with training(run.offline_checkpoint):
        save_checkpoint(run.start, learner, np.random.default_rng(), Progress(start))


def require_start(
    config: RunConfig, folder: Path, source: Path
) -> tuple[Path, str, dict[str, object]]:
    """That a run of `config` in `folder`, new or there already, can begin with the run `source`.

    Returns:
        The checkpoint, the prefix of its weights and what they are from.

    Raises:
        RunError, CheckpointError: as `begin_with`.
    """
    if source.is_file():
        raise RunError(
            f"--from {source} is a file: a bundle holds no critics, which phase 1 learns with; "
            "give the folder of the run that it was exported from"
        )
    known = source / "config.yaml"
    if not known.exists():
        raise RunError(f"--from {source}: no run here; give the folder of one (--run of its train)")
    theirs = load_config(known)
    checkpoint, prefix = _newest(source, theirs)
    _require_alike(config, theirs, source)
    facts = read_facts(checkpoint)
    start = {
        "weights": weights_digest(checkpoint),
        "phase": facts["phase"],
        "updates": facts["updates"],
        "data": facts["data"],
        "seed": theirs.seed,
    }
    checkpoints = folder / "checkpoints"
    begun = checkpoints / "start.safetensors"
    if begun.exists():
        if read_facts(begun) != start:
            raise RunError(
                f"{folder} began with other weights than {source} has now: leave --from out to "
                "go on, or give the new run a folder of its own with --run"
            )
    elif (checkpoints / "offline.safetensors").exists():
        raise RunError(
            f"{folder} has begun by itself: give the run that begins with {source} a folder of "
            "its own with --run"
        )
    return checkpoint, prefix, start


def load_start(run: Run, learner: Algorithm) -> None:
    """Put what `run` begins with into `learner`; nothing where it begins by itself."""
    if start_of(run) is not None:
        load_networks(run.start, learner.networks)


def _newest(source: Path, config: RunConfig) -> tuple[Path, str]:
    folder = source / "checkpoints"
    finetuned = folder / "self-supervised.safetensors"
    if finetuned.exists():
        return finetuned, AVERAGE
    last = config.offline.average_rate == 1.0
    return folder / "offline.safetensors", AGENT if last else AVERAGE


def _require_alike(config: RunConfig, theirs: RunConfig, source: Path) -> None:
    """Weights mean the same only where all of this agrees; the message names each that does not."""
    ours = _alike(config, make_family(config.family, **config.family_options))
    others = _alike(theirs, make_family(theirs.family, **theirs.family_options))
    apart = [
        f"{key} is {json.dumps(ours.get(key))}, there {json.dumps(others.get(key))}"
        for key in sorted(ours.keys() | others.keys())
        if ours.get(key) != others.get(key)
    ]
    if apart:
        raise RunError(
            f"--from {source} does not fit: {'; '.join(apart)}: set the same, or begin without "
            "--from"
        )


def _alike(config: RunConfig, family: TaskFamily) -> dict[str, Any]:
    algorithm = config.algorithm.model_dump(mode="json")
    known = {f"algorithm.{key}": algorithm.get(key) for key in ("name", "latent_size", "unseen")}
    for key, value in algorithm.get("networks", {}).items():
        known[f"algorithm.networks.{key}"] = value
    return known | {
        "observation_fields": described(family.observation_fields),
        "action_fields": [
            [field.name, field.unit, list(field.low), list(field.high)]
            for field in family.action_fields
        ],
        "dynamics_vary": family.dynamics_vary,
        "sparse_reward": family.sparse_reward,
    }
