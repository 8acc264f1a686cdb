"""What the tests of several commands start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fieldtune.export.manifest import FieldSpec
from fieldtune.sim import registry


@pytest.fixture
def cheetah_bundle(tmp_path, make_bundle) -> Callable[..., Path]:
    """`cheetah_bundle(horizon=20)`: a bundle file for the simulated cheetah."""
    family, path = registry.family("cheetah-vel"), tmp_path / "given.bundle"

    def fields(declared) -> tuple[FieldSpec, ...]:
        return tuple(FieldSpec(name=f.name, unit=f.unit, low=f.low, high=f.high) for f in declared)

    def make(horizon: int) -> Path:
        make_bundle(
            path,
            family=family.name,
            robot=family.robot,
            observation_fields=fields(family.observation_fields),
            action_fields=fields(family.action_fields),
            period_s=family.period_s,
            horizon=horizon,
        )
        return path

    return make
