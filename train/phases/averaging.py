"""A running average of a learner's weights: what a second phase publishes and is measured by.

Single iterates swing from update to update (docs/settings.md). Knows networks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from fieldtune.train.device import from_numpy, to_numpy
from fieldtune.train.runs.checkpoint import AVERAGED, under


@torch.no_grad()
def follow(average: nn.Module, learned: nn.Module, rate: float) -> None:
    """Move `average` by `rate` of the way to `learned`, in place."""
    torch._foreach_lerp_(list(average.parameters()), list(learned.parameters()), rate)


def kept(average: nn.Module) -> dict[str, NDArray[Any]]:
    """Arrays for a checkpoint (`fieldtune.train.runs.trained.averaged` loads them)."""
    return {f"{AVERAGED}{name}": to_numpy(t) for name, t in average.state_dict().items()}


def restore(average: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Go on from what `kept` gave, in place."""
    found = under(AVERAGED, arrays)
    average.load_state_dict({name: from_numpy(array) for name, array in found.items()})
