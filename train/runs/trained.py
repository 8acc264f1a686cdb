"""Algorithms as each phase of a run left them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from fieldtune.train.algorithms.algorithm import Algorithm
from fieldtune.train.runs.checkpoint import AGENT, AVERAGE, load_networks, read_facts
from fieldtune.train.runs.origin import SELF_SUPERVISED, require_own
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.untrained import untrained


def after_offline(run: Run) -> Algorithm:
    """At the end of phase 1. Raises `CheckpointError`."""
    require_own(run, run.offline_checkpoint, run.offline_checkpoint.stem)
    trained = untrained(run)
    load_phase_1(run, trained.networks)
    return trained


def load_phase_1(run: Run, networks: nn.Module) -> None:
    """Restore what phase 1 leaves: its last weights, or their average (`offline.average_rate`).

    Raises `CheckpointError`.
    """
    last = run.config.offline.average_rate == 1.0
    load_networks(run.offline_checkpoint, networks, prefix=AGENT if last else AVERAGE)


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


def newest(run: Run) -> tuple[Algorithm, Literal["offline", "self-supervised"], int]:
    """What a robot should run now, the phase that made it and its number of updates."""
    if run.finetune_checkpoint.exists():
        updates = int(read_facts(run.finetune_checkpoint)["updates"])
        return averaged(run, run.finetune_checkpoint), "self-supervised", updates
    updates = int(read_facts(run.offline_checkpoint)["updates"])
    return after_offline(run), "offline", updates
