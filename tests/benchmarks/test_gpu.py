"""The GPU's rows: a sentence where there is none, and all of the rest but the graph on a CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.figures import Report
from benchmarks.page import page, plain
from benchmarks.turns import Effort

ROOT = Path(__file__).parents[2]
SMALL = gpu.Size(2, 8, 16, 6.0, 0.5)


def test_no_gpu_is_a_sentence_and_no_failure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tables = list(gpu.measure(Effort(quick=True)))
    assert all("no GPU here" in plain(table) for table in tables)
    goals = sum(len(table.goals) for table in tables)
    lines = page(Report({}, {}, True, {"gpu": tables})).splitlines()
    missing = [line for line in lines if line.endswith("| no GPU here | not measured |")]
    assert len(missing) == goals == 5


def test_the_script_for_a_machine_without_a_network_brings_all_that_is_imported():
    """`scripts/gpu.sh` takes torch and numpy, and what they need, from that machine."""
    (line,) = re.findall(r"^needed='(.*)'$", (ROOT / "scripts" / "gpu.sh").read_text(), re.M)
    brought = {name.lower().replace("-", "_").replace("pyyaml", "yaml") for name in line.split()}
    look = (
        "import sys, numpy, torch; there = set(sys.modules)\n"
        "import benchmarks.gpu, benchmarks.__main__\n"
        "from benchmarks.smac_sides import make_ours, reference\n"
        "make_ours(reference(), 'cpu')\n"
        "new = {name for name in set(sys.modules) - there}\n"
        "print(*{name.split('.')[0] for name in new if 'site-packages' in"
        " (getattr(sys.modules[name], '__file__', None) or '')})"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    of_torch = {"torch", "torchgen", "numpy", "tqdm", "sympy", "mpmath", "colorama"}
    found = set(done.stdout.split()) - of_torch
    assert {name for name in found if "editable" not in name} <= brought
    assert {"msgspec", "pydantic", "yaml"} <= found


def test_a_size_is_measured_against_eager_and_its_products():
    table = gpu.measure_size(SMALL, False, torch.device("cpu"), Effort(quick=True))
    assert [one.label for one in table.series] == [gpu.GRAPH, gpu.EAGER, gpu.PRODUCTS]
    assert all(value > 0 for one in table.series for value in one.values)
    assert [goal.at_least for goal in table.goals] == [6.0, 0.5]
    assert "no weight is more than 0 from eager's" in table.checks[0]


def test_five_seeds_are_measured_against_one():
    table = gpu.measure_seeds(SMALL, torch.device("cpu"), Effort(quick=True))
    assert [one.label for one in table.series] == [gpu.FIVE, gpu.ONE]
    assert all(value > 0 for one in table.series for value in one.values)
    assert [goal.at_least for goal in table.goals] == [2.5]


def test_weights_that_differ_are_noticed(monkeypatch):
    class Wrong(gpu.Captured):
        def __call__(self, variant=None):
            super().__call__(variant)
            return super().__call__(variant)

    monkeypatch.setattr(gpu, "Captured", Wrong)
    config = SMALL.config()
    data = gpu.Data(tasks=4, episodes=1, config=config)
    with pytest.raises(AssertionError, match=r"a weight is .* away after 20 updates"):
        gpu.same_weights(config, data, torch.device("cpu"))
