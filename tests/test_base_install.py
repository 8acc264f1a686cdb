"""The wheel, installed as on a robot: base dependencies only, in a clean environment."""

from __future__ import annotations

import json
import math
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldtune.export.manifest import FieldSpec

ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


def installed(python: str | Path, environment: Path, *requirements: str | Path) -> Run:
    """Run a command of a clean environment of `python` that holds these."""
    subprocess.run([python, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *requirements], check=True)

    def run(
        command: str, *arguments: str | Path, cwd: Path = environment
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / command, *arguments],
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def robot(wheel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a robot with the tests' own Python and the versions that everything is tested with."""
    environment = tmp_path_factory.mktemp("robot") / "env"
    return installed(sys.executable, environment, "-c", ROOT / "constraints.txt", wheel)


@pytest.fixture(scope="module")
def older_robot(wheel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a robot with Python 3.10, as JetPack 6 and ROS 2 Humble bring it, and what pip finds."""
    known = [shutil.which("python3.10"), *Path.home().glob(".pyenv/versions/3.10*/bin/python")]
    for python in filter(None, known):  # pyenv's own command only starts the version chosen
        if subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("no Python 3.10 on this machine")
    return installed(python, tmp_path_factory.mktemp("older") / "env", "--no-compile", wheel)


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


def test_on_python_3_10_the_daemon_runs_a_robot_behind_a_server(older_robot, make_bundle, tmp_path):
    make_bundle(
        tmp_path / "joints.bundle",
        family="joints",
        robot="joints",
        observation_fields=(
            FieldSpec(name="position", unit="rad", low=(-2.9,) * 2, high=(2.9,) * 2),
            FieldSpec(name="velocity", unit="rad/s", low=(-math.inf,) * 2, high=(math.inf,) * 2),
        ),
        action_fields=(FieldSpec(name="velocity", unit="rad/s", low=(-1.0,) * 2, high=(1.0,) * 2),),
        period_s=0.02,
        horizon=20,
    )
    python = older_robot("python", "-c", "import sys; print(sys.executable)").stdout.strip()
    command = [python, ROOT / "servers" / "serve_joints.py", "--address", "tcp://127.0.0.1:*"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("serving ").strip()
            (tmp_path / "robot.yaml").write_text(
                "robot: {name: j, family: joints, state_dir: state, driver: "
                f"{{name: zmq, address: '{address}', description: joints.json, "
                "lease_s: 0.5}}\n"
            )
            for words in (
                ("describe",),
                ("run", "--bundle", "joints.bundle", "--episodes", "2", "--summary", "said.json"),
                ("journal", "verify"),
            ):
                result = older_robot(
                    "fieldtune-robot", *words, "--config", "robot.yaml", cwd=tmp_path
                )
                assert result.returncode == 0, result.stderr
        finally:
            server.kill()
    assert json.loads((tmp_path / "said.json").read_text())["episodes"] == 2


def test_on_python_3_10_the_workstation_command_says_that_it_wants_a_later_one(older_robot):
    result = older_robot("fieldtune", "--help")
    assert result.returncode == 1
    assert "Python 3.10" in result.stderr
    assert "Python 3.11 or 3.12" in result.stderr
