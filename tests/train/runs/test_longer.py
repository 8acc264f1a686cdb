"""A run goes on beyond what it was made with, and nothing that began from its end is mixed up."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fieldtune.train.cli.app import app
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.checkpoint import read_facts
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.longer import longer_phase_2
from fieldtune.train.runs.opening import open_existing, open_run
from fieldtune.train.runs.run import RunError


def fieldtune(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def same_files(one, other):
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read_facts(one) == read_facts(other)


@pytest.fixture
def make_kept(make_config, tmp_path):
    """`make_kept("a.b=value", ..., folder="run", trained=True)`: a run with its file, on disk."""

    def make(*overrides, folder="run", trained=True):
        run = open_run(make_config(*overrides), tmp_path / folder)
        if trained:
            train_offline(run)
        return run

    return make


@pytest.mark.parametrize("rate", [0.25])
def test_six_updates_and_then_nine_are_nine_at_once(make_kept, rate):
    average = f"offline.average_rate={rate}"
    whole = make_kept("offline.updates=9", average, folder="whole")
    run = make_kept(average, folder="longer")
    result = fieldtune("train", "--run", run.folder, "--updates", 9)
    assert result.exit_code == 0, result.output
    same_files(run.offline_checkpoint, whole.offline_checkpoint)
    kept = load_config(run.folder / "config.yaml")
    assert kept.model_dump() == load_config(whole.folder / "config.yaml").model_dump()


def test_phase_2_goes_on_with_exploration_in_step(make_kept):
    run = make_kept()
    train_in_process(run, run.finetune_checkpoint, true_rewards=False, trials_at_once=1)
    before = read_facts(run.finetune_checkpoint)
    run = longer_phase_2(open_existing(run.folder), 24)
    train_in_process(run, run.finetune_checkpoint, true_rewards=False, trials_at_once=1)
    settings = open_existing(run.folder).config.self_supervised
    assert (settings.updates, settings.steps) == (24, 600)
    after = read_facts(run.finetune_checkpoint)
    assert (before["updates"], after["updates"]) == (8, 24)
    assert before["steps"] < 600 <= after["steps"]
    with pytest.raises(RunError, match=r"--updates is 9, .* has self_supervised\.updates 24"):
        longer_phase_2(run, 9)


def test_a_phase_2_of_the_shorter_phase_1_is_never_orphaned(make_kept):
    run = make_kept()
    train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    before = (run.folder / "config.yaml").read_bytes(), run.offline_checkpoint.read_bytes()
    result = fieldtune("train", "--run", run.folder, "--updates", 9)
    assert result.exit_code == 1
    assert "oracle.safetensors was begun from 6 updates of phase 1" in result.stderr
    assert "remove it" in result.stderr
    assert before == (
        (run.folder / "config.yaml").read_bytes(),
        run.offline_checkpoint.read_bytes(),
    )


def test_fewer_than_are_done_and_another_files_number_are_refused(make_kept, write_config):
    run = make_kept()
    result = fieldtune("train", "--run", run.folder, "--updates", 5)
    assert result.exit_code == 1
    assert "--updates is 5, and phase 1" in result.stderr
    config = write_config(run.folder.parent / "run.yaml")
    result = fieldtune("train", "--run", run.folder, "--config", config, "offline.updates=7")
    assert result.exit_code == 1
    assert "another offline.updates (6, now 7); go on to more with `fieldtune train --updates" in (
        result.stderr
    )
    assert fieldtune("train", "--run", run.folder, "offline.updates=7").exit_code == 1
    assert open_existing(run.folder).config.offline.updates == 6
