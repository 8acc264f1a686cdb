"""What one runtime computes otherwise than another is noticed, and said of the right output."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import runtimes_side
from benchmarks.processes import ROOT
from benchmarks.runtimes import apart, make
from benchmarks.runtimes_side import OUTPUTS, columns, numbers, policy_of, steps_of
from fieldtune.export.bundle import read_bundle


def test_a_difference_is_measured_of_the_output_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes_side, "STEPS", 5)
    path = tmp_path / "point-goal.bundle"
    make(ROOT / "configs" / "point-goal.yaml", path)
    policy = policy_of(read_bundle(path), openvino=False)
    known = policy.manifest
    assert len(steps_of(known)) == 5
    wanted = numbers(policy)
    assert apart(known, wanted, wanted) == dict.fromkeys(OUTPUTS, 0.0)
    found, part = wanted.copy(), columns(known)["action"]
    low, high = policy.low[0], policy.high[0]
    found[2, part.start] += 0.25 * (high - low)
    assert apart(known, found, wanted) == dict.fromkeys(OUTPUTS, 0.0) | {
        "action": pytest.approx(0.25)
    }
    last = columns(known)["log-weights"]
    assert last.stop == wanted.shape[1], "every number of the Python side is named"
    assert np.isfinite(wanted).all()
