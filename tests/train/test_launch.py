from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fieldtune.train import launch
from fieldtune.train.process_settings import environment

ROOT = Path(__file__).parents[2]
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("OMP_", "MKL_", "OPENBLAS_", "MALLOC_", "MUJOCO_", "FIELDTUNE_"))
}
SETTLED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
}


@pytest.fixture
def start(tmp_path):
    """Run a command that settles its environment; tell what it and a child of it started with."""
    script = tmp_path / "command.py"
    script.write_text(
        "import json, subprocess, sys\n"
        "with open('starts', 'a') as file: file.write('x')\n"
        "from fieldtune.train.launch import settle\n"
        "settle()\n"
        "show = \"print(open('/proc/self/environ').read())\"\n"
        "child = subprocess.run([sys.executable, '-c', show], capture_output=True, text=True)\n"
        "print(json.dumps({'own': open('/proc/self/environ').read(), 'child': child.stdout,"
        " 'argv': sys.argv[1:], 'flags': sys.flags.utf8_mode}))\n"
    )

    def run(**changes):
        result = subprocess.run(
            [sys.executable, "-X", "utf8", str(script), "demo", "a b", "--seed=1"],
            env={**CLEAN, "PYTHONPATH": str(ROOT), **changes},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(result.stdout)
        for key in ("own", "child"):
            told[key] = dict(item.split("=", 1) for item in told[key].split("\0") if "=" in item)
        return told | {"starts": len((tmp_path / "starts").read_text())}

    return run


def test_libc_sees_the_settings_from_the_first_instruction_and_children_do_too(start):
    told = start()
    assert told["own"].items() >= SETTLED.items()
    assert told["child"].items() >= SETTLED.items()
    assert told["starts"] == 2


def test_the_command_line_survives_being_started_again(start):
    told = start()
    assert told["argv"] == ["demo", "a b", "--seed=1"]
    assert told["flags"] == 1


def test_a_settled_environment_starts_once(start):
    assert start(**SETTLED)["starts"] == 1


def test_inherited_thread_counts_are_replaced(start):
    assert start(OMP_NUM_THREADS="64", MKL_NUM_THREADS="8")["own"].items() >= SETTLED.items()


def test_threads_may_be_asked_for_by_name():
    wanted = environment({"FIELDTUNE_THREADS": "4", "OMP_NUM_THREADS": "64"})
    assert {wanted[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL", "OPENBLAS")} == {"4"}


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1.5", ""])
def test_a_thread_count_that_is_none_is_refused(threads):
    with pytest.raises(ValueError, match=f"FIELDTUNE_THREADS is '{threads}', expected a whole"):
        environment({"FIELDTUNE_THREADS": threads})


def test_deliberate_settings_are_kept():
    chosen = {"MALLOC_MMAP_THRESHOLD_": "1", "MUJOCO_GL": "glfw", "OPENBLAS_CORETYPE": "Haswell"}
    assert environment(chosen).items() >= chosen.items()


def test_a_robot_side_installation_says_how_to_get_the_rest(monkeypatch, capsys):
    requirements = [
        "numpy>=1.26",
        'no-such-torch>=2.6; extra == "train"',
        'nor-this; extra == "dev"',
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: requirements)
    monkeypatch.setattr(sys, "argv", ["fieldtune", "demo"])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped:
        launch.main()
    signal.signal(signal.SIGINT, before)  # it takes the process for its own, and for done
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    assert "without no-such-torch." in told
    assert 'pip install "fieldtune[train]"' in told


def test_help_is_there_without_starting_again():
    result = subprocess.run(
        [sys.executable, "-m", "fieldtune.train.launch", "study", "--help"],
        env={**CLEAN, "PYTHONPATH": str(ROOT), "FIELDTUNE_THREADS": "not a number"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "--preset" in result.stdout
