"""Where networks and their data are: the key `device`, and the ways between numpy and torch.

Arrays become tensors and tensors arrays by the two functions here and in no other way, so that what
runs on a CPU runs on a GPU. Knows torch alone: no networks of ours, no settings file.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldtune.errors import UserError
from fieldtune.train.cpu_products import choose_products

log = logging.getLogger(__name__)

CPU = torch.device("cpu")


class DeviceError(UserError):
    """The device cannot be had. The message names the key, its value and the cure."""


class _Known(threading.local):
    """What was resolved: torch's current GPU is a thread's own."""

    def __init__(self) -> None:
        self.devices: dict[str, torch.device] = {}


_known = _Known()


def resolve(asked: str) -> torch.device:
    """The device that the key `device` asks for; said once a thread in the log.

    A GPU becomes the thread's current one, so that a job has to do with one; on a CPU it is chosen
    what multiplies there (`fieldtune.train.cpu_products`).

    Args:
        asked: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes the first GPU that works, else the
            CPU.

    Raises:
        DeviceError: a GPU was asked for by name and cannot be had.
    """
    if asked not in _known.devices:
        _known.devices[asked] = _found(asked)
    if _known.devices[asked] == CPU:
        choose_products()  # each time: it is the process's, and another thread may have changed it
    return _known.devices[asked]


def device_of(trained: object) -> torch.device:
    """Where what was trained computes: the device of its `networks`, or of itself if it is some.

    The CPU of what has no weights.
    """
    networks = getattr(trained, "networks", trained)
    if isinstance(networks, nn.Module):
        for weights in networks.parameters():
            return weights.device
    return CPU


def in_precision(precision: str, device: torch.device) -> torch.autocast:
    """Compute in `float32`, or in `bfloat16` where that is precise enough (mixed precision).

    Weights are cast anew each time: they change within an update.
    """
    mixed = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed, cache_enabled=False)


def mixes_precision(device_type: str) -> bool:
    """Whether what runs now may compute in less than float32 on devices of that type."""
    return device_type in ("cpu", "cuda") and torch.is_autocast_enabled(device_type)


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """The numbers of a tensor of any device, `tensor`'s shape; on the CPU they share memory."""
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def from_numpy(array: NDArray[Any], device: torch.device = CPU) -> Tensor:
    """A tensor of `array` on `device`, of its shape and type; on the CPU they share memory."""
    return torch.from_numpy(array).to(device)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave torch's global random states as they were, of the CPU and of the GPU in use.

    A GPU that nothing was computed on is left alone: asking for its state would wake it.
    """
    used = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=used):
        yield


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Torch's global random states, for a checkpoint: `torch`, the CPU's, and the GPU's if that is
    `device`."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set them as `random_states` found them.

    A GPU goes on from a state that follows from the CPU's where none of its own was kept.
    """
    torch.set_rng_state(states["torch"])
    if device.type != "cuda":
        return
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    else:
        digest = hashlib.sha256(to_numpy(states["torch"]).tobytes()).digest()
        torch.cuda.manual_seed(int.from_bytes(digest[:7]))


@contextmanager
def memory_explained(asked: str) -> Iterator[None]:
    """Say in one sentence that the GPU's memory is full, where it is.

    Args:
        asked: the key's value, for the sentence.

    Raises:
        DeviceError: it is.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"device is {asked!r}, but its memory is full ({_first_line(error)}): end what else "
            "runs there, let fewer seeds of a study share it (--together), lower "
            "algorithm.meta_batch or algorithm.batch, or set device=cpu"
        ) from error


def _found(asked: str) -> torch.device:
    if asked == "cpu":
        log.info("device: cpu, as asked")
        return CPU
    missing = _missing(asked)
    if asked == "auto" and missing:
        log.info("device: cpu (auto: %s)", missing)
        return CPU
    if missing:
        raise DeviceError(f"device is {asked!r}, but {missing}; or set device=cpu")
    device = torch.device("cuda", _index(asked))
    torch.cuda.set_device(device)
    why = "auto: it is there" if asked == "auto" else "as asked"
    log.info("device: %s, %s (%s)", device, torch.cuda.get_device_name(device), why)
    return device


def _missing(asked: str) -> str:
    """What keeps the GPU of `asked` from being used, with the cure; empty where nothing does."""
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"this torch ({torch.__version__}) is built without CUDA: for a GPU install one with it"
        )
    try:
        torch.cuda.init()
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:
        return f"CUDA does not start ({_first_line(error)}): see to the NVIDIA driver"
    index = _index(asked)
    if index >= count:
        known = ", ".join(f"cuda:{number}" for number in range(count)) or "none"
        return f"this machine has {count} GPUs ({known}): choose one of these"
    try:
        torch.zeros(1, device=torch.device("cuda", index)).item()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        return f"cuda:{index} refuses the first number ({_first_line(error)}): see what runs there"
    return ""


def _index(asked: str) -> int:
    return 0 if asked == "auto" else torch.device(asked).index or 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
