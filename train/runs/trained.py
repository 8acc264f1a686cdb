"""Algorithms as each phase of a run left them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.runs.checkpoint import (
    AGENT,
    AVERAGE,
    CheckpointError,
    load_networks,
    read_facts,
)
from fieldtune.train.runs.methods import as_method, checkpoint_of
from fieldtune.train.runs.origin import SELF_SUPERVISED, require_own
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.untrained import untrained


def after_offline(run: Run, name: str | None = None) -> Algorithm:
    """At the end of phase 1.

    Args:
        run: which one.
        name: another algorithm that a study trained on the same data; the run's own where None.

    Raises:
        CheckpointError: it was not trained here, its checkpoint cannot be read, or is not this
            run's.
        PluginError: there is no such algorithm, or it cannot be loaded.
    """
    own = run.config.algorithm.name
    method, checkpoint = as_method(run, name or own), checkpoint_of(run, name or own)
    if checkpoint != run.offline_checkpoint and not checkpoint.exists():
        raise CheckpointError(
            f"{checkpoint}: {name} was not trained here: `fieldtune study` trains it with "
            f"--methods, and `fieldtune train` in a run of its own with algorithm.name={name}"
        )
    require_own(run, checkpoint, checkpoint.stem)
    trained = untrained(method)
    load_phase_1(run, trained.networks, checkpoint)
    return trained


def load_phase_1(run: Run, networks: nn.Module, checkpoint: Path | None = None) -> None:
    """Restore what phase 1 leaves: its last weights, or their average (`offline.average_rate`).

    Raises `CheckpointError`.

    Args:
        run: which one.
        networks: of the algorithm that was trained.
        checkpoint: another algorithm's; the run's own where None.
    """
    last = run.config.offline.average_rate == 1.0
    load_networks(checkpoint or run.offline_checkpoint, networks, prefix=AGENT if last else AVERAGE)


def averaged(run: Run, checkpoint: Path, phase: str = SELF_SUPERVISED) -> Algorithm:
    """The algorithm with the averaged weights of a phase 2.

    Args:
        run: which one.
        checkpoint: that phase's.
        phase: `self-supervised` or `oracle`.

    Raises:
        CheckpointError: there is none, it cannot be read, or it is not this run's.
    """
    require_own(run, checkpoint, phase)
    trained = untrained(run)
    load_networks(checkpoint, trained.networks, prefix=AVERAGE)
    return trained


def newest(
    run: Run, name: str | None = None
) -> tuple[Algorithm, Literal["offline", "self-supervised"], int]:
    """What a robot should run now, the phase that made it and its number of updates.

    Raises as `after_offline`, which says what `name` is.
    """
    if name is not None and name != run.config.algorithm.name:
        trained = after_offline(run, name)
        return trained, "offline", int(read_facts(checkpoint_of(run, name))["updates"])
    if run.finetune_checkpoint.exists():
        updates = int(read_facts(run.finetune_checkpoint)["updates"])
        return averaged(run, run.finetune_checkpoint), "self-supervised", updates
    updates = int(read_facts(run.offline_checkpoint)["updates"])
    return after_offline(run), "offline", updates
