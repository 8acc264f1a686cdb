"""A run goes on beyond the updates that it was made with; nothing else of it changes.

No schedule of phase 1 knows its total, so that a run which goes on is, bit for bit on a CPU, the
one made longer at once. Phase 2's data come in step with its updates, and grow with them.
Builds nothing that learns.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fieldtune import settings
from fieldtune.train.alone import training
from fieldtune.train.config import RunConfig
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import Run, RunError


def open_longer(config: RunConfig, folder: Path, updates: int) -> Run:
    """Open a run, new or there already, whose phase 1 ends at `updates`.

    Args:
        config: as for `open_run`; its own `offline.updates` does not count.
        folder: the run's.
        updates: of phase 1 in all, done ones included.

    Raises:
        RunError: as `open_run`, or phase 1 has done more, or a later phase was begun from its end.
        InUse: another process trains it. Nothing has changed in any of these cases.
    """
    known = folder / "config.yaml"
    if not known.exists():
        return open_run(_changed(config, "offline", updates=updates), folder)
    now = load_config(known).offline.updates
    run = open_run(_changed(config, "offline", updates=now), folder)
    if updates != now:
        with training(run.offline_checkpoint):
            _require_open_end(run, updates)
            _keep(known, "offline", updates=updates)
    return replace(run, config=_changed(run.config, "offline", updates=updates))


def longer_phase_2(run: Run, updates: int) -> Run:
    """`run` with that many updates of phase 2, and its exploration steps raised in proportion.

    Args:
        run: one that is there already.
        updates: of phase 2 in all, done ones included.

    Raises:
        RunError: the run has as many already.
        InUse: another process finetunes it.
    """
    phase = run.config.self_supervised
    if updates < phase.updates:
        raise RunError(
            f"--updates is {updates}, and {run.folder} has self_supervised.updates "
            f"{phase.updates} already: give more"
        )
    steps = round(phase.steps * updates / phase.updates)
    if updates > phase.updates:
        with training(run.finetune_checkpoint):
            known = run.folder / "config.yaml"
            _keep(known, "self_supervised", updates=updates, steps=steps)
    longer = _changed(run.config, "self_supervised", updates=updates, steps=steps)
    return replace(run, config=longer)


def _require_open_end(run: Run, updates: int) -> None:
    checkpoint = run.offline_checkpoint
    if not checkpoint.exists():
        return
    done = int(read_facts(checkpoint)["updates"])
    if updates < done:
        raise RunError(
            f"--updates is {updates}, and phase 1 in {checkpoint} has done {done}: give more, or "
            "give a shorter run a folder of its own with --run"
        )
    for later in sorted(checkpoint.parent.glob("*.safetensors")):
        if updates > done and "parent" in read_facts(later):
            raise RunError(
                f"{later} was begun from {done:,} updates of phase 1, which must stay as they are "
                "for it: remove it to begin phase 2 again from the longer phase 1, or go on in a "
                f"copy of {run.folder} without it"
            )


def _keep(known: Path, section: str, **values: int) -> None:
    """Write `values` into a run's configuration."""
    settings.dump(_changed(load_config(known), section, **values), known, movable="data.path")


def _changed(config: RunConfig, section: str, **values: Any) -> RunConfig:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})
