"""`fieldtune new`: packages that work as they are made; bad names change nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune.train.cli.app import app
from fieldtune.train.new_package.make import Kind, contents, make
from fieldtune.train.new_package.name import BadName, PackageName

CHECKOUT = Path(__file__).parents[3]
SLOW_AND_THE_SAME = "test_it_is_a_family"


@pytest.mark.parametrize("kind", Kind)
def test_its_tests_pass_as_it_is_made(kind, tmp_path):
    """As `make test` runs them, once pip has written what stands in `installed`."""
    made = make(kind, PackageName("other-arm"), tmp_path).folder
    installed(made)
    left_out = ["-k", f"not {SLOW_AND_THE_SAME}"] if kind is Kind.ROBOT else []
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out],
        cwd=made,
        env={**os.environ, "PYTHONPATH": f"{made}:{CHECKOUT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout


@pytest.mark.parametrize("kind", Kind)
def test_its_tests_know_how_many_joints_there_are_at_their_heads_alone(kind):
    """So that a robot of three joints is a line there; the vendor's stand-in may be deleted."""
    for name, text in contents(kind, PackageName("other-arm")).items():
        if name.startswith("tests/"):
            _, *functions = re.split(r"^(?:@.*\n)?def ", text, flags=re.M)
            counted = re.compile(r"\[:\d|\d:\d|zeros\(\d|, \d\)\)|array\(\[")
            assert not [found for one in functions for found in counted.findall(one)], name
            assert "pretend_arm" not in text, name


@pytest.mark.parametrize("kind", Kind)
def test_its_code_is_clean(kind, tmp_path):
    made = make(kind, PackageName("other-arm"), tmp_path).folder
    for command in (("check", "--select", "E,F,I,B,UP"), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "100", "."]
        run = subprocess.run(ruff, cwd=made, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("kind", Kind)
def test_a_makefile_keeps_its_own_variables(kind):
    text = contents(kind, PackageName("other-arm"))["Makefile"]
    assert "\t$(PYTHON) -m pytest\n" in text
    assert "$$" not in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Arm", "expected lower-case letters"),
        ("my--arm", "expected lower-case letters"),
        ("../arm", "expected lower-case letters"),
        ("a" * 41, "at most 40"),
        ("json", "has a module of that name"),
        ("class", "has a module of that name"),
        ("reach", "there is a task family of that name already"),
        ("zmq", "there is a driver of that name already"),
        ("pytest", "can be imported here already"),
    ],
)
def test_a_name_that_would_clash_is_refused_and_nothing_is_made(name, message, tmp_path, capsys):
    with pytest.raises(BadName, match=message):
        PackageName(name)
    shown = CliRunner().invoke(app, ["new", "robot", name, "--into", str(tmp_path)])
    assert shown.exit_code == 1
    assert message in shown.stderr + capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "other-arm").mkdir()
    (tmp_path / "other-arm" / "mine").write_text("mine")
    for into, message in ((tmp_path, "is there already"), (tmp_path / "no", "no such folder")):
        shown = CliRunner().invoke(app, ["new", "driver", "other-arm", "--into", str(into)])
        assert shown.exit_code == 1
        assert message in shown.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["other-arm", "mine"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        make(Kind.DRIVER, PackageName("other-arm"), tmp_path)
    assert not list(tmp_path.iterdir())


def installed(folder: Path) -> None:
    """What `pip install -e` writes down of a package: its name and its entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    metadata = folder / "other_arm-0.1.0.dist-info"
    metadata.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(head)
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text("\n".join(groups))
