"""Checkpoints: everything a run needs to go on bit for bit, in one safetensors file.

Weights, optimiser states, the constants that the networks' inputs are scaled by, torch's and
numpy's random state, counters and any extra arrays. Written atomically; nothing is pickled, and
nothing that is not finite is written or loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Checkpointable
from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.device import (
    device_of,
    from_numpy,
    random_states,
    restore_random_states,
    to_numpy,
)

FORMAT = "fieldtune-checkpoint-2"
WITHOUT_CONSTANTS = "fieldtune-checkpoint-1"  # its networks know inputs without floor or range
Item = TypeVar("Item")

AGENT, CONSTANTS, ARRAY = "agent.", "constants.", "array."
AVERAGED = "average."  # of the arrays that a phase 2 keeps: its averaged weights
AVERAGE = ARRAY + AVERAGED


class CheckpointError(UserError):
    """The file cannot be resumed from. The message names the file, what is wrong and the cure."""


@dataclass
class Progress:
    """What is saved beside the learner: counters and facts as JSON, arrays as tensors."""

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def save_checkpoint(
    path: Path, learner: Checkpointable, rng: np.random.Generator, progress: Progress
) -> None:
    """Write atomically: a kill leaves the old file or the new one, never half of either.

    Args:
        path: of the file.
        learner: its networks' weights and constants, and its optimisers' states.
        rng: of the draws; torch's global random states, the CPU's and where it is used the GPU's,
            are saved too.
        progress: what else is needed to go on.

    Raises:
        TrainingDiverged: something is not finite; the old file stays.
    """
    device = device_of(learner)
    tensors: dict[str, Tensor] = {
        f"{AGENT}{name}": tensor for name, tensor in learner.networks.state_dict().items()
    }
    for name, optimiser in learner.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimiser.{name}.{index}.{key}"] = value
    for name, array in progress.arrays.items():
        tensors[f"{ARRAY}{name}"] = from_numpy(np.ascontiguousarray(array))
    wrong = not_finite(tensors)
    if wrong:
        raise TrainingDiverged(
            f"{path}: {len(wrong)} of {len(tensors)} tensors are not finite, {wrong[0]} among "
            "them: nothing was written, the last checkpoint stays; lower the learning rate"
        )
    for name, constant in _constants(learner.networks).items():
        tensors[f"{CONSTANTS}{name}"] = from_numpy(np.array(constant))
    tensors |= {f"random.{name}": state for name, state in random_states(device).items()}
    header = {
        "format": FORMAT,
        "facts": json.dumps(progress.facts, sort_keys=True),
        "random.numpy": json.dumps(rng.bit_generator.state),
    }
    owned = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(owned, metadata=header))


def load_checkpoint(path: Path, learner: Checkpointable, rng: np.random.Generator) -> Progress:
    """Restore learner and random states in place; return what was saved beside them.

    What was written on one device is read on any: weights and optimisers' states go where `learner`
    computes.

    Args:
        path: what `save_checkpoint` wrote.
        learner: with networks and optimisers of the shapes saved.
        rng: of the draws; torch's global random state is restored too.

    Raises:
        CheckpointError: no such file, another format, weights of another shape or not finite;
            nothing has changed then.
    """
    header, tensors = _read(path)
    weights = _weights(path, learner.networks, tensors, AGENT)
    states = {
        name: _optimiser_state(path, name, optimiser, tensors)
        for name, optimiser in learner.optimisers.items()
    }
    _restore_constants(learner.networks, tensors)
    learner.networks.load_state_dict(weights)
    for name, optimiser in learner.optimisers.items():
        optimiser.load_state_dict(states[name])
    restore_random_states(under("random.", tensors), device_of(learner))
    rng.bit_generator.state = json.loads(header["random.numpy"])
    return _progress(header, tensors)


def load_networks(path: Path, networks: nn.Module, prefix: str = AGENT) -> None:
    """Restore networks and constants only.

    Args:
        path: the checkpoint.
        networks: of the shapes that were saved.
        prefix: the weights' names in it begin with that.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    _, tensors = _read(path)
    networks.load_state_dict(_weights(path, networks, tensors, prefix))
    _restore_constants(networks, tensors)


def load_optimisers(path: Path, learner: Checkpointable) -> None:
    """Restore the optimisers' states only; learning rates stay those of `learner`.

    Raises `CheckpointError`, as `load_checkpoint`.
    """
    _, tensors = _read(path)
    for name, optimiser in learner.optimisers.items():
        optimiser.load_state_dict(_optimiser_state(path, name, optimiser, tensors))


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those that hold an infinity or a NaN."""
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]


def _weights(
    path: Path, networks: nn.Module, tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
    """The networks' state dict under `prefix`, every tensor of the shape that it should have."""
    found = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    known = networks.state_dict()
    for name in sorted(known.keys() | found.keys()):
        ours, theirs = (
            str(list(weights[name].shape)) if name in weights else "absent"
            for weights in (known, found)
        )
        if ours != theirs:
            raise CheckpointError(
                f"{path}: weights do not fit the configured networks: {prefix}{name} is {theirs}, "
                f"expected {ours}; use the config.yaml saved with the run"
            )
    wrong = not_finite(found)
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} of {len(found)} weights are not finite, {prefix}{wrong[0]} "
            "among them: training had diverged; remove the file and train again with a lower "
            "learning rate"
        )
    return found


@runtime_checkable
class WithConstants(Protocol):
    """Networks that know the units they were trained in."""

    normalisation: Normalisation


def _constants(networks: nn.Module) -> dict[str, NDArray[Any]]:
    """By name; empty for a learner that keeps its own among the arrays
    (`fieldtune.train.collecting.resumable`)."""
    return networks.normalisation.arrays() if isinstance(networks, WithConstants) else {}


def _restore_constants(networks: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    if isinstance(networks, WithConstants):
        networks.normalisation = Normalisation.from_arrays(_arrays(CONSTANTS, tensors))


def read_facts(path: Path) -> dict[str, Any]:
    """The counters and facts of a checkpoint, without loading its tensors."""
    return dict(json.loads(_header(path)["facts"]))


def weights_digest(path: Path) -> str:
    """A sha256 of a checkpoint's networks and constants: the same for the same agent."""
    _, tensors = _read(path)
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        if name.startswith((AGENT, CONSTANTS)):
            hashed.update(f"{name} {list(tensors[name].shape)}".encode())
            hashed.update(to_numpy(tensors[name]).tobytes())
    return hashed.hexdigest()


def _header(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; run `fieldtune train` first")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})") from error
    found = header.get("format")
    if found != FORMAT:
        older = ", before inputs had floors and ranges: go on with that one, or train again"
        raise CheckpointError(
            f"{path}: format {found!r}, expected {FORMAT!r}; it was written by another version"
            + (older if found == WITHOUT_CONSTANTS else "")
        )
    return header


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    header = _header(path)
    with safe_open(path, framework="pt") as file:
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _progress(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Progress:
    return Progress(json.loads(header["facts"]), _arrays(ARRAY, tensors))


def under(prefix: str, items: Mapping[str, Item]) -> dict[str, Item]:
    """What has a name that begins with `prefix`, by the rest of it."""
    return {n[len(prefix) :]: item for n, item in items.items() if n.startswith(prefix)}


def _arrays(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: to_numpy(tensor) for name, tensor in under(prefix, tensors).items()}


def _optimiser_state(
    path: Path, name: str, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The optimiser's own state dict with its tensors replaced by the saved ones."""
    state: dict[int, dict[str, Tensor]] = {}
    prefix = f"optimiser.{name}."
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            index, entry = key[len(prefix) :].split(".")
            state.setdefault(int(index), {})[entry] = tensor
    known = optimiser.state_dict()
    expected = sum(len(group["params"]) for group in known["param_groups"])
    if len(state) not in (0, expected):
        raise CheckpointError(
            f"{path}: optimiser {name!r} has state for {len(state)} tensors, expected {expected}"
        )
    return {"state": state, "param_groups": known["param_groups"]}
