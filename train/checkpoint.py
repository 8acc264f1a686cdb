"""Checkpoints: everything a run needs to go on bit for bit, in one safetensors file.

Weights, optimiser states, torch's and numpy's random state, counters and any extra arrays. Written
atomically; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from export.atomic import write_atomically
from train.learner import Learner
from train.smac import Agent

FORMAT = "fieldtune-checkpoint-1"
AGENT, AVERAGE = "agent.", "array.average."


class CheckpointError(Exception):
    """The file cannot be resumed from. The message names the file, what is wrong and the cure."""


@dataclass
class Progress:
    """What is saved beside the learner: counters and facts as JSON, arrays as tensors."""

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def save_checkpoint(
    path: Path, learner: Learner, rng: np.random.Generator, progress: Progress
) -> None:
    """Write atomically: a kill leaves the old file or the new one, never half of either."""
    tensors: dict[str, Tensor] = {
        f"{AGENT}{name}": tensor for name, tensor in learner.agent.state_dict().items()
    }
    for name, optimiser in learner.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimiser.{name}.{index}.{key}"] = value
    tensors["random.torch"] = torch.get_rng_state()
    for name, array in progress.arrays.items():
        tensors[f"array.{name}"] = torch.from_numpy(np.ascontiguousarray(array))
    header = {
        "format": FORMAT,
        "facts": json.dumps(progress.facts, sort_keys=True),
        "random.numpy": json.dumps(rng.bit_generator.state),
    }
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(owned, metadata=header))


def load_checkpoint(path: Path, learner: Learner, rng: np.random.Generator) -> Progress:
    """Restore learner and both random states in place; return what was saved beside them.

    Raises:
        CheckpointError: no such file, another format, or weights of another shape; nothing has
            changed then.
    """
    header, tensors = _read(path)
    weights = _weights(path, learner.agent, tensors, AGENT)
    states = {
        name: _optimiser_state(path, name, optimiser, tensors)
        for name, optimiser in learner.optimisers.items()
    }
    learner.agent.load_state_dict(weights)
    for name, optimiser in learner.optimisers.items():
        optimiser.load_state_dict(states[name])
    torch.set_rng_state(tensors["random.torch"])
    rng.bit_generator.state = json.loads(header["random.numpy"])
    return _progress(header, tensors)


def load_agent(path: Path, agent: Agent, prefix: str = AGENT) -> None:
    """Restore networks only, from the tensors under `prefix`.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    _, tensors = _read(path)
    agent.load_state_dict(_weights(path, agent, tensors, prefix))


def _weights(
    path: Path, agent: Agent, tensors: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
    """The agent's state dict under `prefix`, every tensor of the shape that it should have."""
    found = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    known = agent.state_dict()
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
    return found


def read_facts(path: Path) -> dict[str, Any]:
    """The counters and facts of a checkpoint, without loading its tensors."""
    return dict(json.loads(_header(path)["facts"]))


def _header(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; run `fieldtune train` first")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {header.get('format')!r}, expected {FORMAT!r}; "
            "it was written by another version"
        )
    return header


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    header = _header(path)
    with safe_open(path, framework="pt") as file:
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _progress(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Progress:
    prefix = "array."
    arrays = {n[len(prefix) :]: t.numpy() for n, t in tensors.items() if n.startswith(prefix)}
    return Progress(json.loads(header["facts"]), arrays)


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
