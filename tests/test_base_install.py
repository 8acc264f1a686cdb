"""The wheel, installed as on a robot: base dependencies only, in a clean environment."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fieldtune", "train", "robot", "sim", "export")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory):
    """Run a command of a clean environment that holds the wheel and its base dependencies."""
    work = tmp_path_factory.mktemp("robot")
    source = work / "source"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            source / package,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", work, source], check=True
    )
    (wheel,) = work.glob("fieldtune-*.whl")
    environment = work / "env"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel], check=True
    )

    def run(command: str, *arguments: str, cwd: Path = work) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / command, *arguments],
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_neither_torch_nor_a_simulator_is_installed(robot):
    installed = robot("python", "-m", "pip", "list", "--format=freeze").stdout.lower()
    assert "fieldtune==" in installed
    for package in ("torch", "mujoco", "robosuite", "gymnasium", "onnx=="):
        assert f"\n{package}" not in installed


def test_nothing_but_fieldtune_is_importable(robot):
    """`robot` is Robot Framework's, `train` anybody's."""
    result = robot(
        "python",
        "-c",
        "import importlib.util as known, fieldtune.robot, fieldtune.export\n"
        "print([n for n in ('robot', 'train', 'sim', 'export', 'benchmarks', 'tests', 'scripts')\n"
        "       if known.find_spec(n)])",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["train", "robot", "sim", "export"])
def test_a_module_of_an_old_name_beside_the_caller_does_no_harm(robot, tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the caller's own module was run')\n")
    for command in (
        ("fieldtune-robot", "journal", "--help"),
        ("fieldtune", "--help"),
        ("python", "-m", "fieldtune.robot.launch", "stop", "--help"),
        ("python", "-c", "import fieldtune.robot.cli.app, fieldtune.export.bundle"),
    ):
        result = robot(*command, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "the caller's own" not in result.stdout + result.stderr


def test_every_robot_module_imports(robot):
    result = robot(
        "python",
        "-c",
        "import importlib, pkgutil, sys, fieldtune.robot as robot\n"
        "names = [m.name for m in pkgutil.walk_packages(robot.__path__, 'fieldtune.robot.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names), 'torch' in sys.modules, 'mujoco' in sys.modules)",
    )
    assert result.returncode == 0, result.stderr
    count, *loaded = result.stdout.split()
    assert int(count) > 5
    assert loaded == ["False", "False"]


def test_a_bundle_reads_and_runs(robot, tmp_path):
    made = runpy.run_path(str(ROOT / "tests/export/conftest.py"))
    bundle = made["write_bundle"](
        tmp_path / "policy.bundle",
        made["make_description"](),
        samples=made["make_samples"](),
        **made["make_networks"](),
    )
    result = robot(
        "python",
        "-c",
        "import sys, numpy, onnxruntime\n"
        "from fieldtune.export.bundle import read_bundle\n"
        "bundle = read_bundle(sys.argv[1])\n"
        "session = onnxruntime.InferenceSession(bundle.graphs['policy.onnx'])\n"
        "inputs = {'observation': numpy.zeros((1, 5), 'f'), 'z': numpy.zeros((1, 3), 'f')}\n"
        "print(bundle.id, session.run(['mean'], inputs)[0].shape == (1, 2))",
        str(tmp_path / "policy.bundle"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [bundle.id, "True"]


def test_the_daemon_explains_itself(robot):
    result = robot("fieldtune-robot", "--help")
    assert result.returncode == 0, result.stderr
    assert "run" in result.stdout


def test_the_workstation_command_says_how_to_get_the_extra(robot):
    result = robot("fieldtune", "demo")
    assert result.returncode == 1
    assert 'pip install "fieldtune[train]"' in result.stderr
    assert "torch" in result.stderr


def test_a_driver_of_ones_own_can_be_made_there(robot, tmp_path):
    """The templates are in the wheel, and a driver imports nothing that a robot has not."""
    made = robot("fieldtune", "new", "driver", "my-arm", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    result = robot("python", "-c", "import my_arm.driver", cwd=tmp_path / "my-arm")
    assert result.returncode == 0, result.stderr
