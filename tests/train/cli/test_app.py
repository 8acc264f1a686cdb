"""The command as a person meets it: what it prints, where errors go, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.train.cli.app import app
from fieldtune.train.runs.checkpoint import read_facts

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "collect",
    "import",
    "train",
    "export",
    "finetune",
    "oracle",
    "evaluate",
    "beliefs",
    "film",
    "demo",
)


@pytest.fixture
def config(write_config, tmp_path):
    return write_config(tmp_path / "run.yaml")


@pytest.fixture
def fieldtune(tmp_path, monkeypatch):
    """Run a command in an empty folder, in this process."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="module")
def four_updates(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("started")
    config = write_config(folder / "run.yaml")
    arguments = ["train", "--config", str(config), "--run", str(folder / "run"), "--until", "4"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return folder / "run"


@pytest.fixture
def started(four_updates, tmp_path):
    """A run of four updates out of six, to go on with."""
    return shutil.copytree(four_updates, tmp_path / "started")


def process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fieldtune.train.launch", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_shows_every_command_and_examples_to_copy():
    result = process("--help")
    assert result.returncode == 0
    for text in ("Examples", "fieldtune demo", "fieldtune collect --config configs/reach.yaml"):
        assert text in result.stdout
    for command in COMMANDS:
        assert f" {command} " in result.stdout


def test_help_does_not_wait_for_torch():
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from fieldtune.train.cli.app import app\n"
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_an_error_in_its_own_process_is_one_message_and_exit_status_1(config, tmp_path):
    result = process(
        "train", "--config", config, "--run", tmp_path / "run", "algorithm.discuont=0.9"
    )
    assert result.returncode == 1
    assert "did you mean 'algorithm.discount'?" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--run", "r", "seed='x'"], "'seed' is 'x': expected a valid integer"),
        (["train", "--run", "r", "data.path=nowhere"], "nowhere: no dataset here; make one with"),
        (["train", "--run", "r", "family=reach"], "robot.family is 'cheetah-vel'"),
        (
            ["train", "--run", "r", "family=reach", "robot.family=reach"],
            "family is 'cheetah-vel', the run's is 'reach'",
        ),
        (["collect"], "a dataset is never overwritten"),
        (["collect", "data.path=new", "data.episodes_per_task=99"], "data.agent.rounds"),
        (["train", "--run", "r", "family=reech", "robot.family=reech"], "reech"),
    ],
)
def test_bad_settings_are_explained_and_create_nothing(fieldtune, config, arguments, message):
    command, *others = arguments
    result = fieldtune(command, "--config", config, *others)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["export", "finetune", "oracle", "evaluate"])
def test_a_run_that_is_not_there_is_explained(fieldtune, command):
    out = ["--out", "a.bundle"] if command == "export" else []
    result = fieldtune(command, "--run", "runs/none", *out)
    assert result.exit_code == 1
    assert "runs/none: no run here; start one with `fieldtune train" in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["export", "finetune", "oracle", "evaluate"])
def test_a_run_with_nothing_trained_is_explained(fieldtune, started, command):
    (started / "checkpoints" / "offline.safetensors").unlink()
    extra = {
        "export": ["--out", "a.bundle"],
        "finetune": ["--address", "tcp://127.0.0.1:*"],
    }.get(command, [])
    result = fieldtune(command, "--run", started, *extra)
    assert result.exit_code == 1, result.exception
    assert "run `fieldtune train` first" in result.stderr
    assert not Path("a.bundle").exists()


def test_finetuning_needs_an_address_and_takes_loopback_only(fieldtune, started):
    result = fieldtune("finetune", "--run", started)
    assert (result.exit_code, "robot.bridge is not set" in result.stderr) == (1, True)
    result = fieldtune("finetune", "--run", started, "--address", "tcp://0.0.0.0:5555")
    assert (result.exit_code, "CURVE" in result.stderr) == (1, True)


def test_a_place_that_cannot_be_written_to_is_explained(fieldtune, config):
    Path("file").write_text("")
    result = fieldtune("train", "--config", config, "--run", "file/run")
    assert result.exit_code == 1, result.exception
    assert "file/run" in result.stderr


def test_a_run_whose_data_were_moved_says_where_to_write_their_new_place(
    fieldtune, started, tmp_path, make_config
):
    shutil.move(shutil.copytree(make_config().data.path, tmp_path / "d"), tmp_path / "moved")
    known = started / "config.yaml"
    text = known.read_text().replace(make_config().data.path, str(tmp_path / "d"))
    known.write_text(text)
    result = fieldtune("export", "--run", started, "--out", "x")
    assert result.exit_code == 1
    assert f"{tmp_path / 'd'}: no dataset there, where {known} has this run's" in result.stderr
    known.write_text(text.replace(str(tmp_path / "d"), str(tmp_path / "moved")))
    result = fieldtune("export", "--run", started, "--out", "x")
    assert "no dataset" not in result.stderr


@pytest.mark.parametrize("command", ["evaluate", "export", "train", "oracle", "finetune"])
def test_what_cannot_be_written_is_known_before_the_work(
    fieldtune, started, config, command, monkeypatch
):
    def work(*_, **__):
        raise AssertionError("the work was begun")

    names = {"train": "offline", "finetune": "self-supervised", "oracle": "oracle"}
    arguments = ["--run", started]
    if command == "evaluate":
        monkeypatch.setattr("fieldtune.train.evaluation.measure.evaluate_run", work)
        target = started / "evaluation.json"
        target.mkdir()
    elif command == "export":
        monkeypatch.setattr("fieldtune.train.runs.bundles.Exporter", work)
        target = started / "out"
        target.mkdir()
        arguments += ["--out", target]
    else:
        target = started / "checkpoints" / f"{names[command]}.safetensors"
        target.unlink(missing_ok=True)
        target.symlink_to(started / "disk" / "x")
        arguments += ["--config", config] if command == "train" else []
        arguments += ["--address", "tcp://127.0.0.1:5961"] if command == "finetune" else []
    result = fieldtune(command, *arguments)
    assert result.exit_code == 1, result.output
    says = "Is a directory" if target.is_dir() else "is a link to"
    assert result.stderr.splitlines()[-1].startswith(f"error: {target}: {says}")


def test_data_and_demos_are_not_begun_behind_a_link_to_nothing(fieldtune, config, tmp_path):
    """The usual reason is a disk that is not mounted."""
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for arguments in (
        ["collect", "--config", config, f"data.path={tmp_path / 'link'}"],
        ["import", "--family", "cheetah-vel", "--hdf5", "{task}", "--out", tmp_path / "link"],
        ["train", "--config", config, "--run", tmp_path / "link"],
        ["demo", "--config", config, "--out", tmp_path / "link"],
        ["study", "cheetah-vel", "--config", config, "--out", tmp_path / "link"],
    ):
        result = fieldtune(*arguments)
        assert result.exit_code == 1, arguments
        assert (
            f"{tmp_path / 'link'}: is a link to {tmp_path / 'disk'}, and nothing" in result.stderr
        )
    assert not list(tmp_path.glob(".link.*coll*")) + list(tmp_path.glob(".link.*part*"))
    assert (tmp_path / "link").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        ["algorithm.batch=1000000", "algorithm.meta_batch=1000"],
        ["algorithm.networks.policy=[1000000, 1000000]"],
    ],
    ids=["numpy", "torch"],
)
def test_what_no_memory_holds_is_one_sentence(config, tmp_path, sizes):
    command = [sys.executable, "-m", "fieldtune.train.launch", "train", "--config", config]
    result = subprocess.run(
        # Bounded: else the machine may take memory from whoever has most, before it says no.
        [
            "sh",
            "-c",
            'ulimit -v 6000000; exec "$@"',
            "sh",
            *command,
            "--run",
            tmp_path / "x",
            *sizes,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    told = result.stderr.splitlines()
    assert told[-1].startswith("error: this takes more memory than there is"), result.stderr
    assert "Traceback" not in result.stderr


def test_the_same_command_again_goes_on(fieldtune, started, config):
    assert read_facts(started / "checkpoints" / "offline.safetensors")["updates"] == 4
    result = fieldtune("train", "--config", config, "--run", started)
    assert result.exit_code == 0
    assert "checkpoints/offline.safetensors" in result.stdout.replace("\n", "")
    assert read_facts(started / "checkpoints" / "offline.safetensors")["updates"] == 6


@pytest.mark.slow
def test_an_exported_bundle_is_named_by_its_id(fieldtune, started):
    result = fieldtune("export", "--run", started, "--out", "out/policy.bundle")
    assert result.exit_code == 0, result.stderr
    bundle = read_bundle(Path("out/policy.bundle"))
    assert bundle.id in result.stdout.replace("\n", "")
    assert bundle.manifest.provenance.updates == 4
    assert "almost constant in the data: torso_position[1] (deviation" in result.stdout
