"""Exit statuses: the same mistake ends both programs alike, in one sentence (docs/safety.md)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune import exit_status
from fieldtune.open_files import LEAST
from fieldtune.robot.cli.app import app as robot
from fieldtune.train.cli.app import app as trainer

ROOT = Path(__file__).parents[1]
MODULES = {"fieldtune": "fieldtune.train.launch", "fieldtune-robot": "fieldtune.robot.launch"}


MODULE = [sys.executable, "-m", "fieldtune.robot.launch"]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "family": "reach",
        "data": {"path": "file/data"},
        "robot": {"name": "a", "family": "reach", "state_dir": "file/state"},
    }
    (tmp_path / "file").touch()
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings))
    return "x.yaml"


COLLECT = (trainer, ["collect", "--config"])
RUN = (robot, ["run", "--bundle", "x.bundle", "--config"])


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("app", "command"), [COLLECT, RUN], ids=["fieldtune", "fieldtune-robot"])
@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (["none.yaml"], "error: none.yaml: no such file", exit_status.MISTAKE),
        (["x.yaml", "robot.nmae=b"], "unknown key 'robot.nmae'", exit_status.MISTAKE),
        (["x.yaml", "robot.seed=010"], "010 begins with 0", exit_status.MISTAKE),
        (["x.yaml", "robot.state_dir=~none/x"], "no home folder is known", exit_status.MISTAKE),
        (["x.yaml"], "Not a directory", exit_status.MISTAKE),
        (["x.yaml", "--colour"], "No such option", exit_status.USAGE),
    ],
)
def test_the_same_mistake_ends_both_programs_alike(app, command, arguments, says, status):
    done = CliRunner().invoke(app, [*command, *arguments])
    assert done.exit_code == status, done.output
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    if says == "Not a directory":
        assert re.search(r"/file/(data|state)\S*: Not a directory", done.stderr)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_too_few_open_files_are_one_sentence_before_anything_is_begun(config, tmp_path, module):
    command = {"fieldtune.train.launch": "collect", "fieldtune.robot.launch": "run"}[module]
    done = subprocess.run(
        [
            "sh",
            "-c",
            f"ulimit -n 24; exec {sys.executable} -m {module} {command} --config {config}",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_status.MISTAKE, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert f"may have 24 files open, it needs {LEAST}: allow more (`ulimit -n`" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.yaml"]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_output_that_cannot_be_written_is_one_sentence(module):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    told = "error: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (exit_status.MISTAKE, told)


def test_a_tilde_after_an_option_and_its_equals_sign_is_the_home_folder(config, tmp_path):
    done = subprocess.run(
        [*MODULE, "keys", "new", f"--config=~/{config}", "robot.keys.secret=~/k"],
        cwd="/",
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_status.DONE, done.stderr
    assert (tmp_path / "k").read_text().startswith("fieldtune secret key")


def test_the_page_has_every_status():
    page = (ROOT / "docs" / "safety.md").read_text()
    for name, value in vars(exit_status).items():
        if name.isupper():
            assert re.search(rf"^\| {value} \|", page, re.MULTILINE), name
