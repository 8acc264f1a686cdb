"""What the tests of several commands start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fieldtune.sim import registry


@pytest.fixture
def cheetah_bundle(tmp_path, make_family_bundle) -> Callable[..., Path]:
    """A bundle file for the simulated cheetah, of 10 steps an episode where not given; its graphs
    are from `seed`, and `changes` to its description."""
    family = registry.family("cheetah-vel")

    def make(horizon: int = 10, seed: int = 0, **changes: object) -> Path:
        path = tmp_path / f"given-{seed}.bundle"
        make_family_bundle(path, family, seed, horizon=horizon, **changes)
        return path

    return make
