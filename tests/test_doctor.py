"""`doctor` of both programs: each thing it looks at is broken for real, and named with a cure."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune import exit_status, machine
from fieldtune.robot.cli.app import app as robot
from fieldtune.train.cli.app import app as trainer

ROOT = Path(__file__).parents[1]
ROBOT = [sys.executable, "-m", "fieldtune.robot.launch", "doctor"]


def states(output: str) -> dict[str, str]:
    """State by subject, of what `doctor` printed."""
    lines = [line for line in output.splitlines() if line[:6].strip() in ("ok", "note", "mend")]
    return {line[6:22].strip(): line[:6].strip() for line in lines}


@pytest.fixture
def config(tmp_path):
    """Writes a run's file with the bridge at a port; gives its path."""

    def write(port: int, state: Path = tmp_path / "state") -> str:
        settings = {
            "family": "reach",
            "device": "cpu",
            "data": {"path": str(tmp_path / "data")},
            "algorithm": {"name": "smac"},
            "robot": {
                "name": "a",
                "family": "reach",
                "state_dir": str(state),
                "journal_quota_mb": 1,
                "bridge": f"tcp://127.0.0.1:{port}",
            },
        }
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings))
        return str(tmp_path / "x.yaml")

    return write


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    with socket.socket() as one:  # bound, and nobody listens
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def full(folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (folder / "filler").write_bytes(bytes(4_000_000))


@pytest.mark.slow
def test_the_trainer_finds_no_gpu_no_graphics_and_a_port_in_use(
    config, listening, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = CliRunner().invoke(trainer, ["doctor", "--config", config(listening), "device=cuda"])
    assert done.exit_code == exit_status.MISTAKE, done.output
    found = states(done.output)
    assert found.pop("clock") in ("ok", "note")
    assert found == {
        "Python": "ok",
        "libraries": "ok",
        "extras": "ok",
        "open files": "ok",
        "device": "mend",
        "pictures": "note",
        "working folder": "ok",
        "data.path": "ok",
        "robot.bridge": "mend",
    }
    for words in (
        "or set device=cpu",
        "install EGL (Debian: libegl1",
        f":{listening}: Address already in use",
        "set robot.bridge to another address",
    ):
        assert words in done.output, words
    assert not (tmp_path / "data").exists()


def test_on_a_sound_computer_the_robots_ends_with_0(config, listening, tmp_path):
    done = CliRunner().invoke(robot, ["doctor", "--config", config(listening)])
    assert done.exit_code == exit_status.DONE, done.output
    assert states(done.output)["robot.bridge"] == "ok"
    assert "mend" not in states(done.output).values()
    assert not (tmp_path / "state").exists()


def test_a_broken_numpy_hides_nothing_else(config, listening, tmp_path):
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries" / "numpy.py").write_text("raise ImportError('wrong ELF class')\n")
    done = subprocess.run(
        [*ROBOT, "--config", config(listening)],
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'libraries'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = states(done.stdout)
    assert (done.returncode, done.stderr) == (exit_status.MISTAKE, "")
    assert (found["imports"], found["driver"], found["robot.bridge"]) == ("mend", "mend", "ok")


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ("robot.driver.name=zm", "'zm': no such driver; did you mean 'zmq'?"),
        ("robot.driver.adress=tcp://x", "unknown key 'robot.driver.adress'"),
    ],
)
def test_a_driver_that_is_none_or_has_other_keys_is_to_be_mended(config, listening, wrong, cure):
    done = CliRunner().invoke(robot, ["doctor", "--config", config(listening), wrong])
    assert (done.exit_code, states(done.output)["driver"]) == (exit_status.MISTAKE, "mend")
    assert cure in done.output


def test_all_that_is_broken_is_found_at_once(config, closed, tmp_path, mounted):
    """A full disk, no trainer, no rights of real time, few files, a library too old, one broken."""
    libraries = tmp_path / "libraries"
    for name, version in (("msgspec", "0.1"), ("fieldtune", "0.1.0")):
        (libraries / f"{name}-{version}.dist-info").mkdir(parents=True)
        (libraries / f"{name}-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.99\n"
            "Requires-Dist: msgspec>=0.19\nRequires-Dist: no-such-library-at-all>=2\n"
        )
    (libraries / "msgspec.py").write_text("raise ImportError('wrong ELF class')\n")
    rights = ["setpriv", "--bounding-set=-sys_nice,-ipc_lock,-sys_resource"]
    if os.geteuid() or not shutil.which("setpriv"):
        rights = []
    limits = "ulimit -r 0 2>/dev/null; ulimit -l 64; ulimit -n 24"
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        full(disk)
        chosen = ["--config", config(closed, disk / "state")]
        done = subprocess.run(
            [*rights, "bash", "-c", f'{limits}; exec "$@"', "-", *ROBOT, *chosen],
            env=os.environ | {"PYTHONPATH": f"{libraries}:{ROOT}"},
            cwd=tmp_path,  # a checkout that is installed says its own requirements there
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == exit_status.MISTAKE, done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no terminal, no colours
    found = states(done.stdout)
    assert found.pop("clock") in ("ok", "note")
    assert found == {
        "Python": "mend",
        "libraries": "mend",
        "extras": "ok",
        "imports": "mend",
        "open files": "mend",
        "real time": "note",
        "robot.state_dir": "mend",
        "robot.bridge": "note",
        "driver": "ok",
    }
    for words in (
        "fieldtune takes Python >=3.99: install one of these",
        "msgspec is 0.1, expected >=0.19, no-such-library-at-all is not installed",
        "msgspec does not load: wrong ELF class",
        "may have 24 files open, it needs 128",
        "LimitRTPRIO=50",
        "LimitMEMLOCK=infinity",
        f"{disk / 'state'}: 0 MB free, ",
        "or lower robot.journal_quota_mb",
        f":{closed}: Connection refused",
        "start `fieldtune finetune` there",
    ):
        assert words in done.stdout, words


def test_a_folder_of_whatever_name_in_it_makes_no_folder_one_that_cannot_be_written(tmp_path):
    (tmp_path / "new").mkdir()
    assert not machine.disk("x", tmp_path, 1).cure


def test_a_disk_without_inodes_or_that_is_read_only_is_found(tmp_path, mounted):
    with mounted(tmp_path / "few", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs") as disk:
        (disk / "last").touch()
        assert machine.disk("x", disk / "new", 1).found.endswith("no file can be added to its disk")
    with mounted(tmp_path / "old", "-t", "tmpfs", "-o", "ro", "tmpfs") as disk:
        finding = machine.disk("x", disk / "new", 1)
        assert (finding.state, "Read-only" in finding.found) == ("mend", True)


def test_a_disk_with_less_than_is_wanted_is_noted(tmp_path):
    room = shutil.disk_usage(tmp_path).free
    finding = machine.disk("x", tmp_path, 2 * room, "buy another")
    assert (finding.state, finding.cure.endswith("or buy another")) == ("note", True)


def test_the_clock_is_asked_of_the_kernel():
    assert not machine.clock().found.startswith("not known")
    assert machine.clock_of(0x40, 16_000_000).state == "note"
    assert machine.clock_of(0x2001, 1_500) == machine.Finding(
        "clock", "kept by a time server, to 0.002 s at worst"
    )


@pytest.mark.parametrize("app", [robot, trainer], ids=["fieldtune-robot", "fieldtune"])
def test_settings_without_a_file_are_refused(app):
    done = CliRunner().invoke(app, ["doctor", "robot.seed=1"])
    assert (done.exit_code, "needs --config" in done.stderr) == (exit_status.USAGE, True)
