"""Ctrl-C in every command of `fieldtune-robot`, from its imports on.

What it does to a robot that moves is told elsewhere (test_signals.py, test_app.py).
"""

from __future__ import annotations

import shutil

import pytest
import yaml

from fieldtune import exit_status
from fieldtune.robot.cli.app import app
from fieldtune.sim import registry
from tests.interrupts import IMPORT, Case, commands, require_clean_interrupts, warm
from tests.warm_process import Moment

READING = (IMPORT, Moment("open", "*run.yaml"))
BUNDLE = (IMPORT, Moment("open", "*a.bundle"))
JOURNAL = (IMPORT, Moment("open", "*journal.sqlite*"))
DONE, NOBODY = exit_status.DONE, exit_status.NOBODY

CASES = {
    "adapt": Case("adapt --config run.yaml --bundle a.bundle --save right", READING),
    "act": Case("act --config run.yaml --task left --episodes 1", READING),
    "check": Case("check --config run.yaml --bundle a.bundle", BUNDLE),
    "describe": Case("describe --config server.yaml", out=("arm.json",)),
    "doctor": Case("doctor --config run.yaml", READING),
    "monitor": Case(
        "monitor --config run.yaml", (IMPORT, Moment("import", "rich.live")), says=("",), ends=DONE
    ),
    "record": Case("record --config run.yaml --by waves --steps 5", READING),
    "stop": Case(
        "stop --config run.yaml",
        (*READING, Moment("open", "*fault.txt*"), Moment("exit")),
        again=NOBODY,
    ),
    "view": Case("view --journal state/journal.sqlite --save a.rrd", out=("a.rrd",)),
    "view --web": Case(
        "view --config run.yaml --web --bundles . --port 29877 --web-port 29090",
        (Moment("open", "*status.json", 2),),
        says=("",),
        ends=DONE,
    ),
    "run": Case(
        "run --config run.yaml --bundle a.bundle --episodes 1 --summary s.json",
        READING,
        again=DONE,
        out=("s.json",),
    ),
    "rearm": Case("rearm --config run.yaml --yes", READING),
    "bundle inspect": Case("bundle inspect a.bundle", BUNDLE[1:]),
    "bundle verify": Case("bundle verify a.bundle", BUNDLE[1:]),
    "bundle bench": Case("bundle bench a.bundle --calls 100", BUNDLE[1:]),
    "bundle diff": Case("bundle diff a.bundle a.bundle", BUNDLE[1:]),
    "bundle limits": Case(
        "bundle limits a.bundle --config run.yaml --out limits.json",
        (*BUNDLE, Moment("rename", "*limits.json")),
        again=DONE,
        out=("limits.json",),
    ),
    "journal list": Case("journal list --config run.yaml", JOURNAL[1:]),
    "journal show": Case("journal show 1 --config run.yaml", JOURNAL[1:]),
    "journal verify": Case("journal verify --config run.yaml", JOURNAL[1:]),
    "journal export": Case(
        "journal export --config run.yaml --out a.mcap",
        (*JOURNAL, Moment("rename", "*a.mcap")),
        again=DONE,
        out=("a.mcap",),
    ),
    "journal offer": Case("journal offer --config run.yaml", JOURNAL, again=DONE),
    "keys new": Case(
        "keys new --config run.yaml",
        (*READING, Moment("rename", "*robot.key"), Moment("open", "*robot.key*")),
        again=DONE,
        out=("state/robot.key",),
    ),
    "keys show": Case("keys show --config run.yaml", READING[1:]),
    "tasks list": Case("tasks list --config run.yaml", READING[1:]),
    "tasks show": Case("tasks show left --config run.yaml", READING[1:]),
    "tasks remove": Case("tasks remove left --config run.yaml", READING, again=DONE),
    "tasks recompute": Case(
        "tasks recompute left --config run.yaml --bundle a.bundle",
        (*BUNDLE, Moment("rename", "*left.json")),
        again=DONE,
    ),
}


@pytest.fixture(scope="module")
def process():
    with warm("robot", ("numpy", "pydantic", "yaml", "rich.table", "msgspec", "zmq")) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory, make_family_bundle, process):
    """A robot's folder: its configuration, a bundle, and what a run with it left."""
    folder = tmp_path_factory.mktemp("site") / "robot"
    folder.mkdir()
    family = registry.family("point-goal")
    robot = {"name": "interrupted", "family": family.name, "state_dir": "state"}
    served = {"name": "zmq", "address": "tcp://127.0.0.1:1", "description": "arm.json"}
    for name, driver in {
        "run": {"name": "sim", "time_scale": float("inf")},
        "server": served,
    }.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"robot": robot | {"driver": driver}}))

    make_family_bundle(folder / "a.bundle", family)
    save = "adapt --config run.yaml --bundle a.bundle --save left"
    done = process.run(save, folder, folder.parent / "beside", None)
    assert done.status == DONE, (folder.parent / "beside" / "err").read_text()
    return folder


def test_every_command_has_its_case():
    assert commands(app) == {name.partition(" --")[0] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_a_command_that_is_interrupted_says_so_and_leaves_nothing_half_done(
    name, process, site, tmp_path
):
    shutil.copytree(site, tmp_path / "robot")
    require_clean_interrupts(process, CASES[name], tmp_path / "robot", tmp_path / "beside")
