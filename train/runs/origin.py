"""Which run a checkpoint is of, and which phase 1 a phase 2 was begun from.

Kept among a checkpoint's facts and asked for before it is used: weights fit wherever the shapes do.
Knows what decides weights, and no path: a run's folder, or its data, may be moved. Knows no
learner.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fieldtune.train.config import RunConfig
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts, weights_digest
from fieldtune.train.runs.config_file import method_settings
from fieldtune.train.runs.opening import first_difference
from fieldtune.train.runs.run import Run, RunError

SELF_SUPERVISED, ORACLE = "self-supervised", "oracle"
LONGER_OFFLINE = "longer-offline"  # in the place of a phase 2, without its data
TOLD = "told"  # in the place of phase 1, told each task
ONLINE, ONLINE_METHOD = "online", "pearl"  # without its data, in the simulator with rewards

_LATER = (SELF_SUPERVISED, ORACLE, LONGER_OFFLINE)
_PHASE_1_OWN = "offline"  # of the configured algorithm; another one's is called as it is
_PHASE_1 = {"family", "seed", "algorithm", "offline"}
_ONLINE = _PHASE_1 | {"online", "randomisation"}
_PHASE_2 = _PHASE_1 | {"inference", "self_supervised", "randomisation"}
_HOW_FAR = {  # says when to stop and what to write meanwhile, and changes no update
    "offline": {"updates", "checkpoint_every"},
    "self_supervised": {"updates", "steps", "checkpoint_every", "publish_every"},
    "online": {"checkpoint_every"},  # the others say how data and updates keep pace
}


def origin(run: Run, phase: str) -> dict[str, Any]:
    """What decided the weights of `run`'s `phase`, as facts for its checkpoint.

    Args:
        phase: `self-supervised` or `oracle`; or of phase 1, a method's checkpoint's name.
    """
    settings = _deciding(run.config, phase)
    known = {"phase": phase, "data": run.dataset.digest, "settings": settings}
    start = start_of(run) if phase in (run.offline_checkpoint.stem, *_LATER) else None
    return known if start is None else {**known, "from": start}


def start_of(run: Run) -> dict[str, Any] | None:
    """The checkpoint whose weights phase 1 of `run` began with: `weights`, a digest of it, and its
    `phase`, `updates`, `data` and `seed`. None where it began by itself. Raises `CheckpointError`.
    """
    return read_facts(run.start) if run.start.exists() else None


def require_own(run: Run, path: Path, phase: str) -> dict[str, Any]:
    """The facts of the checkpoint at `path`, which `run`'s `phase` must have written.

    What an older version wrote does not say, and is taken.

    Args:
        run: whose settings and data are asked for.
        path: the checkpoint.
        phase: as in `origin`.

    Raises:
        CheckpointError: it cannot be read, or is of another phase, other settings or other data.
    """
    facts, ours = read_facts(path), origin(run, phase)
    theirs = {**ours, **facts}
    changed = first_difference(theirs["settings"], ours["settings"])
    if theirs["phase"] != phase:
        wrong = f"it is of phase {theirs['phase']!r}, expected {phase!r}"
    elif changed is not None:
        wrong = f"it was trained with another {changed}"
    elif theirs["data"] != ours["data"]:
        wrong = f"it was trained on other data (sha256 {theirs['data']}, now {ours['data']})"
    elif facts.get("from") != ours.get("from"):
        wrong = f"it began with other weights than {run.start.name} says"
    else:
        return facts
    raise CheckpointError(
        f"{path}: {wrong}: put back this run's own file, or what has changed in its config.yaml "
        "since; or remove the file to train it anew"
    )


def finished_phase_1(run: Run) -> dict[str, Any]:
    """What a phase 2 begins from: phase 1's updates, and a digest of its weights.

    Raises:
        RunError: phase 1 has not reached `offline.updates`.
        CheckpointError: there is none, or it is not this run's.
    """
    ours, last = _phase_1(run), run.config.offline.updates
    if ours["updates"] < last:
        raise RunError(
            f"{run.offline_checkpoint}: phase 1 has done {ours['updates']:,} of {last:,} updates, "
            "and phase 2 begins from its end: run the same `fieldtune train` again, without "
            f"--until, to go on; or set offline.updates to {ours['updates']} in "
            f"{run.folder / 'config.yaml'} to end it here"
        )
    return ours


def require_parent(run: Run, path: Path, facts: dict[str, Any]) -> None:
    """Only phases that began from the same weights go on, and compare.

    Args:
        facts: those of the phase 2 at `path`; what an older version wrote does not say from what
            it began, and is taken.

    Raises:
        CheckpointError: it began from another than is there now, or there is none.
    """
    ours = _phase_1(run)
    theirs = facts.get("parent", ours)
    if theirs == ours:
        return
    now = f"has {ours['updates']:,}"
    if theirs["updates"] == ours["updates"]:
        now = "has other weights"
    raise CheckpointError(
        f"{path} was begun from {theirs['updates']:,} updates of phase 1, and "
        f"{run.offline_checkpoint} {now} now: what came of the two cannot be compared; remove the "
        "former to begin phase 2 again, or put back the phase 1 that it was begun from"
    )


def _phase_1(run: Run) -> dict[str, Any]:
    path = run.offline_checkpoint
    updates = int(require_own(run, path, path.stem)["updates"])
    return {"updates": updates, "weights": weights_digest(path)}


def _deciding(config: RunConfig, phase: str) -> dict[str, Any]:
    """The settings that weights depend on, as JSON has them."""
    sections = _PHASE_2 if phase in _LATER else _ONLINE if phase == ONLINE else _PHASE_1
    left_out = {name: keys for name, keys in _HOW_FAR.items() if name in sections}
    told = config.model_dump(mode="json", include=sections, exclude=left_out)
    if phase not in (_PHASE_1_OWN, TOLD, *_LATER):
        method = ONLINE_METHOD if phase == ONLINE else phase
        told["method"] = method_settings(method, config).model_dump(mode="json")
    if phase == ONLINE:
        trial = {"prior_episodes", "posterior_episodes"}
        told["robot.exploration"] = config.robot.exploration.model_dump(include=trial)
    known: dict[str, Any] = json.loads(json.dumps(told))
    return known
