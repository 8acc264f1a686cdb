"""What the lean preset cost is counted from the committed study, and updates are really timed."""

import pytest

from benchmarks.lean import LEAN, Costs, steps_to
from benchmarks.smac_sides import ROOT
from fieldtune.train.runs.config_file import load_config

SMALL = ["algorithm.meta_batch=2", "algorithm.batch=4"]


@pytest.mark.parametrize("inference", LEAN)
def test_the_first_steps_that_closed_the_share_are_counted(inference) -> None:
    half, of, seeds = steps_to(0.5, inference)
    most, again, _ = steps_to(0.95, inference)
    assert 0 < half < most <= of == again
    assert seeds == 5
    with pytest.raises(ValueError, match=f"by {inference} it never closed 200%"):
        steps_to(2.0, inference)


def test_only_the_updates_asked_for_cost_anything() -> None:
    path = ROOT / "configs" / "cheetah-vel.yaml"
    costs = Costs(load_config(path, overrides=SMALL))
    assert costs.of(0, 0, 1) == 0
    assert costs.of(1, 0, 1) > 0
    assert costs.of(0, 1, 1) > 0
