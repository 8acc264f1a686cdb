"""One seed for everything that is drawn. Must not know what is drawn."""

from __future__ import annotations

import numpy as np
import torch


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch's global stream (z, actions, initial weights); return the generator for draws."""
    torch.manual_seed(seed)
    return np.random.default_rng(seed)
