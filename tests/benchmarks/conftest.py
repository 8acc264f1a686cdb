"""`benchmarks` is not installed with the package: tests find it in the checkout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.figures import Goal, Series, Table  # noqa: E402


@pytest.fixture
def make_table() -> Callable[..., Table]:
    """`make_table(**changes)`: ours at 4, 6 and 5, theirs at 2, 2 and 1, a floor at 8, 8 and 8."""

    def make(**changes: object) -> Table:
        given: dict[str, object] = {
            "title": "Steps",
            "unit": "steps/s",
            "conditions": "two threads",
            "series": [
                Series("ours", "ours", [4.0, 6.0, 5.0]),
                Series("theirs", "theirs", [2.0, 2.0, 1.0]),
                Series("bare", "floor", [8.0, 8.0, 8.0]),
            ],
            "goals": [
                Goal("≥ 2× theirs", "ours", "theirs", at_least=2.0),
                Goal("≥ 90 % of bare", "ours", "bare", at_least=0.9),
                Goal("≥ 1.15× EnvPool", "ours", "EnvPool", at_least=1.15),
            ],
            "checks": ["both count to three"],
            "skipped": {"EnvPool": "it is not installed"},
        }
        return Table(**(given | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def products_left_as_they_were() -> Iterator[None]:
    """Which library multiplies is the process's, and benchmarks try them all."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
