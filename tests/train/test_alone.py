"""Two trainers, two collectors: the second is refused, with the first one's number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldtune.train.alone import InUse, alone, making, training
from fieldtune.train.cli.app import app
from fieldtune.train.collecting.collect import collect
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.checkpoint import read_facts

ROOT = Path(__file__).parents[2]
WAIT_S = 300


@pytest.mark.slow
def test_a_second_trainer_is_refused_and_one_that_was_killed_leaves_the_place_free(
    write_config, tmp_path
):
    config, run = write_config(tmp_path / "run.yaml"), tmp_path / "run"
    command = [sys.executable, "-m", "fieldtune.train.launch", "train", "--config", str(config)]
    command += ["--run", str(run), "offline.updates=1000000", "offline.checkpoint_every=5"]
    checkpoint = run / "checkpoints" / "offline.safetensors"
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + WAIT_S
        while not checkpoint.exists():
            assert first.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.1)
        second = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        assert second.returncode not in (0, 130)
        assert f"{checkpoint}: process {first.pid} is at it" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    done = int(read_facts(checkpoint)["updates"])
    third = subprocess.run(
        [*command, "--until", str(done + 1)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert third.returncode == 0, third.stderr
    assert read_facts(checkpoint)["updates"] == done + 1


def test_each_phase_is_trained_by_one_process(make_trained):
    run = make_trained()
    with training(run.offline_checkpoint), pytest.raises(InUse, match=f"process {os.getpid()}"):
        train_offline(run)
    with training(run.oracle_checkpoint), pytest.raises(InUse, match=r"oracle\.safetensors"):
        train_in_process(run, run.oracle_checkpoint, true_rewards=True)


def test_phases_of_one_run_may_be_trained_side_by_side(make_trained):
    """As a study does."""
    run = make_trained()
    with training(run.finetune_checkpoint), training(run.oracle_checkpoint):
        train_offline(run, name="meta-bc")


def test_a_second_finetune_is_refused_before_it_opens_the_inbox(write_config, tmp_path):
    config, run = write_config(tmp_path / "run.yaml"), tmp_path / "run"
    command = ["train", "--config", str(config), "--run", str(run), "--until", "1"]
    assert CliRunner().invoke(app, command).exit_code == 0
    with training(run / "checkpoints" / "self-supervised.safetensors"):
        refused = CliRunner().invoke(
            app, ["finetune", "--run", str(run), "--address", "tcp://127.0.0.1:*"]
        )
    assert refused.exit_code != 0
    assert f"process {os.getpid()} is at it" in refused.stderr
    assert not (run / "inbox").exists()


def test_a_second_demo_is_refused_before_it_changes_the_first_ones_settings(tmp_path):
    config = ROOT / "configs" / "reach.yaml"
    with alone(tmp_path / ".demo.lock", "demo", "wait"):
        refused = CliRunner().invoke(app, ["demo", "--config", str(config), "--out", str(tmp_path)])
    assert refused.exit_code != 0
    assert f"{tmp_path}: process {os.getpid()} is at it" in refused.stderr.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_made_by_one_process(make_config, tmp_path):
    folder = tmp_path / "data"
    config = make_config("family=reach", "robot.family=reach", f"data.path={folder}")
    with making(folder), pytest.raises(InUse, match=f"{folder}: process {os.getpid()}"):
        collect(config)
    assert not folder.exists()
