"""Exit statuses: the same mistake ends both programs alike, in one sentence (docs/safety.md)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune import exit_status
from fieldtune.errors import RESUMABLE
from fieldtune.open_files import LEAST
from fieldtune.robot.cli.app import app as robot
from fieldtune.train.cli.app import app as trainer
from fieldtune.train.process_settings import environment

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


SLOW = """
import sys, time
wanted = sys.argv.pop(1)
class Slow:
    "Says when the import of a module begins, and lets a moment pass."
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            print("importing", flush=True)
            time.sleep(1)
sys.meta_path.insert(0, Slow())
from {module} import main
main()
"""


@pytest.mark.parametrize(
    ("program", "imported"),
    [
        ("fieldtune", "fieldtune.train.cli.app"),
        ("fieldtune", "numpy"),
        ("fieldtune", "torch.version"),
        ("fieldtune-robot", "fieldtune.robot.cli.app"),
        ("fieldtune-robot", "numpy"),
        ("fieldtune-robot", "onnxruntime"),
    ],
)
def test_ctrl_c_while_modules_are_loaded_is_130_and_one_sentence(program, imported, config):
    run = ["run", "--bundle", "x.bundle"]
    command = {"fieldtune": ["train", "--run", "r"], "fieldtune-robot": run}[program]
    script = SLOW.format(module=MODULES[program])
    process = subprocess.Popen(
        [sys.executable, "-c", script, imported, *command, "--config", config],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) in [
        (exit_status.INTERRUPTED, "interrupted\n"),
        (exit_status.INTERRUPTED, f"{RESUMABLE}\n"),
    ]


def test_ctrl_c_while_the_program_is_started_again_waits_until_it_can_be_told(config):
    """The new interpreter would print a traceback out of its own first imports."""
    script = (
        "import os, signal, sys\n"
        "start = os.execve\n"
        "def interrupted(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    start(*arguments)\n"
        "os.execve = interrupted\n"
        "from fieldtune.train.launch import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "--run", "r", "--config", config],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (exit_status.INTERRUPTED, "interrupted\n")


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_a_command_that_was_started_to_ignore_ctrl_c_goes_on(module):
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"from {module} import main\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "main()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


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
