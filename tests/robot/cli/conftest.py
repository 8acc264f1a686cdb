"""What the tests of several commands start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.sim import registry


@pytest.fixture
def cheetah_bundle(tmp_path, make_bundle) -> Callable[..., Path]:
    """A bundle file for the simulated cheetah, of 10 steps an episode where not given; its graphs
    are from `seed`, and `changes` to its description."""
    family = registry.family("cheetah-vel")

    def fields(declared) -> tuple[FieldSpec, ...]:
        return tuple(FieldSpec(name=f.name, unit=f.unit, low=f.low, high=f.high) for f in declared)

    def make(horizon: int = 10, seed: int = 0, **changes: object) -> Path:
        path = tmp_path / f"given-{seed}.bundle"
        make_bundle(
            path,
            seed,
            family=family.name,
            robot=family.robot,
            observation_fields=fields(family.observation_fields),
            action_fields=fields(family.action_fields),
            period_s=family.period_s,
            horizon=horizon,
            **changes,
        )
        return path

    return make
