"""`fieldtune check-family` finds what is wrong with a family, by name and with the cure."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune.sim.checks import moves
from fieldtune.sim.checks.check_family import check_family
from fieldtune.sim.registry import family
from fieldtune.train.cli.app import app

HERE = Path(__file__).parent


def _load():
    spec = importlib.util.spec_from_file_location("dot_under_test", HERE / "dot.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dot_under_test"] = module
    spec.loader.exec_module(module)
    return module.Dot


Dot = _load()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(moves, "SPEED_S", 0.0)


def findings(one, name=None):
    return {found.name: found for found in check_family(one, name)}


def test_a_family_that_keeps_its_promises_passes():
    found = findings(Dot())
    assert {one.state for one in found.values()} == {"ok"}, found
    assert "copies terminated" in found["termination"].text


FAULTS = [
    ("twice", "fields", "'position' is there twice"),
    ("unbounded action", "fields", r"push\[0\] has no finite bounds"),
    ("tasks without seed", "tasks", r"default_rng\(seed\)"),
    ("tasks out of bounds", "tasks", r"target\[\d\] of task 0 is .*its bounds are -0.5 to 0.5"),
    ("task width", "tasks", r"float64 \[5, 3\]: expected float \[task, 2\]"),
    ("split", "split", "training task 0 and held-out task 0 are the same"),
    ("width", "reset and step", r"\[8, 3\]: expected float \[8, 4\]"),
    ("nan", "reset and step", r"step: velocity\[1\] of copy 0 is nan"),
    ("ends as int", "reset and step", "expected bool"),
    ("own array", "reset and step", "hands out its own array"),
    ("signal shape", "reset and step", r"signals\(\) gives \[8\]: expected \[8, 1\]"),
    ("seed", "seed", r"position\[0\] of copy 0 at step 0"),
    ("remembers", "second reset", "reset all of the state"),
    ("mixes", "batch", "move otherwise without the others"),
    ("shared state", "batch", "beside another|its own seed"),
    ("threads", "threads", "with threads=3 copies move otherwise"),
    ("takes it back", "termination", "went on: say so until the reset"),
    ("resets itself", "termination", "does it reset itself"),
    ("dead action", "actions", r"push\[1\] at -1 and at 1 leads to the same"),
    ("claims varying dynamics", "dynamics", "all tasks move alike"),
    ("undeclared dynamics", "dynamics", "dynamics_vary is false"),
    ("bounds", "field bounds", r"position\[0\] went from .* its bounds are -0.01 to 0.01"),
    ("another robot", "single robot", "leaves the simulator: "),
    ("turned picture", "pictures", r"uint8 \[64, 48, 3\]: expected uint8 \[48, 64, 3\]"),
    ("black", "pictures", "of one colour"),
    ("one column", "reward", r"reward gives \[\d+, 1\]: expected \[\d+\]"),
    ("normalises", "reward", "look at its own row alone"),
    ("no broadcast", "reward", "IndexError|gives|TypeError"),
    ("writes", "reward", "writes into its arguments"),
    ("claims bounds", "reward's claims", "reward_bounds say -0.1 to 0"),
    ("claims sparse", "reward's claims", "sparse_reward is true, but a reward is"),
    ("claims success", "reward's claims", "success_reward is 2, reward_bounds say -inf to 1"),
    ("same for all", "reward by task", "nothing would tell tasks apart"),
    ("signals", "signals", "without its signals is not refused"),
    ("lazy script", "script", "does not do the task"),
]


@pytest.mark.parametrize(("fault", "check", "message"), FAULTS, ids=[one[0] for one in FAULTS])
def test_what_is_broken_is_found_by_name(fault, check, message):
    found = findings(Dot(fault))
    first = next(one for one in found.values() if one.state == "failed")
    assert first.name == check, first
    assert re.search(message, first.text), first.text


def test_a_name_that_is_not_its_entry_points_is_found():
    assert "data and bundles would be of another family" in findings(Dot(), "dots")["name"].text


@dataclass(frozen=True)
class Raising(Dot):
    """A family whose own code fails."""

    def simulator(self, n_envs, threads=1):  # noqa: ARG002
        raise ZeroDivisionError("no such motor")


def test_what_a_family_raises_is_told_with_its_place_and_ends_no_other_check():
    found = findings(Raising())
    assert found["reset and step"].state == "failed"
    assert "ZeroDivisionError at test_check_family.py:" in found["reset and step"].text
    assert found["seed"].state == "not checked"
    assert found["pictures"].state == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cheetah-vel", "walker-params", "reach"])
def test_families_of_ours_pass(name):
    wrong = [one for one in check_family(family(name), name) if one.state != "ok"]
    assert not wrong, wrong


def test_the_command_tells_what_it_found_and_ends_with_its_status(monkeypatch):
    made = {}

    def fake(_, **options):
        made.update(options)
        return Dot(**options)

    monkeypatch.setattr("fieldtune.sim.registry.family", fake)
    told = CliRunner().invoke(app, ["check-family", "dot"])
    assert told.exit_code == 0, told.output
    assert "dot: ok" in told.stdout
    told = CliRunner().invoke(app, ["check-family", "dot", "--option", "fault=threads"])
    assert told.exit_code == 1
    assert made == {"fault": "threads"}
    assert "FAILED" in told.stdout
    assert "dot: 1 of 22 checks failed" in told.stdout
    told = CliRunner().invoke(app, ["check-family", "dot", "--option", "fault"])
    assert told.exit_code == 1
    assert "--option 'fault': expected KEY=VALUE" in told.stderr
