"""A checkpoint is of one run, and a phase 2 of one phase 1: neither is taken for another's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.train.cli.app import app
from fieldtune.train.evaluation.measure import evaluate_run
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.trained import after_offline, averaged, newest

ANY = "tcp://127.0.0.1:*"


def fieldtune(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments):
    result = fieldtune(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"


def refused(message, *arguments):
    result = fieldtune(*arguments)
    assert result.exit_code == 1, f"{result.output}\n{result.exception!r}"
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def changed(path, change):
    """Alter a YAML file in place, as a person does."""
    settings = yaml.safe_load(path.read_text())
    change(settings)
    path.write_text(yaml.safe_dump(settings))


def uses(run):
    """Everything that uses a run's phase 1."""
    return (
        lambda: train_offline(run),
        lambda: after_offline(run),
        lambda: newest(run),
        lambda: SelfSupervisedPhase(run),
        lambda: evaluate_run(run),
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=7", r"another seed \(7, now 0\)"),
        ("algorithm.kl_weight=3", r"another algorithm\.kl_weight \(3\.0, now 0\.1\)"),
        ("offline.context.size=[5, 8]", r"another offline\.context\.size \(\[5, 8\], now \[4, 8\]"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_the_key_that_differs(
    make_run, make_trained, override, said
):
    other, run = make_run(override, folder="other"), make_trained()
    train_offline(other)
    shutil.copy(other.offline_checkpoint, run.offline_checkpoint)
    kept = run.offline_checkpoint.read_bytes()
    for use in uses(run):
        with pytest.raises(CheckpointError, match=rf"offline\.safetensors: .*{said}.*put back"):
            use()
    assert run.offline_checkpoint.read_bytes() == kept


def test_a_checkpoint_of_other_data_is_refused(make_trained):
    run = make_trained()
    data = replace(run.dataset, train=[task[::-1] for task in run.dataset.train])
    for use in uses(replace(run, dataset=data)):
        with pytest.raises(CheckpointError, match=r"trained on other data \(sha256 [0-9a-f]{64}"):
            use()


def test_a_phase_two_of_another_run_or_of_another_kind_is_refused(make_trained):
    other = make_trained("self_supervised.learning_rate=0.01", folder="other")
    train_in_process(other, other.finetune_checkpoint, true_rewards=False)
    run = make_trained()
    train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    for copied, said in (
        (other.finetune_checkpoint, r"another self_supervised\.learning_rate \(0\.01, now 0\.0003"),
        (run.oracle_checkpoint, "it is of phase 'oracle', expected 'self-supervised'"),
    ):
        shutil.copy(copied, run.finetune_checkpoint)
        for use in (
            lambda: newest(run),
            lambda: evaluate_run(run),
            lambda: train_in_process(run, run.finetune_checkpoint, true_rewards=False),
        ):
            with pytest.raises(CheckpointError, match=said):
                use()


def test_how_far_to_go_and_what_to_write_meanwhile_may_change(make_trained):
    short = make_trained("self_supervised.updates=3", folder="short")
    train_in_process(short, short.finetune_checkpoint, true_rewards=False)
    run = make_trained(
        *("offline.updates=5", "offline.checkpoint_every=1", "self_supervised.updates=9"),
        *("self_supervised.checkpoint_every=1", "self_supervised.publish_every=1"),
        *("evaluation.repeats=1", "robot.name=other", "robot.exploration.action_noise=0.5"),
    )
    shutil.copy(short.finetune_checkpoint, run.finetune_checkpoint)
    assert train_in_process(run, run.finetune_checkpoint, true_rewards=False).updates == 9
    assert list(evaluate_run(run).phases) == ["before", "after"]


def test_a_checkpoint_from_before_this_was_kept_is_taken(make_trained):
    run = make_trained()
    train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    for path in (run.offline_checkpoint, run.oracle_checkpoint):
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        facts = json.loads(header["facts"])
        for known_since in ("settings", "data", "parent"):
            facts.pop(known_since, None)
        save_file(load_file(path), path, header | {"facts": json.dumps(facts)})
    assert list(evaluate_run(run).phases) == ["before", "oracle"]
    assert SelfSupervisedPhase(run, true_rewards=True).restore(run.oracle_checkpoint) is None


def test_a_setting_that_another_version_has_is_no_difference(make_trained):
    run = make_trained()
    with safe_open(run.offline_checkpoint, framework="pt") as file:
        header = file.metadata()
    facts = json.loads(header["facts"])
    facts["settings"]["algorithm"]["of_old"] = facts["settings"]["algorithm"].pop("n_step")
    header["facts"] = json.dumps(facts)
    save_file(load_file(run.offline_checkpoint), run.offline_checkpoint, header)
    after_offline(run)


def test_a_moved_run_with_moved_data_goes_on(write_config, dataset_folder, tmp_path):
    config, here, there = write_config(tmp_path / "c.yaml"), tmp_path / "here", tmp_path / "there"
    done("train", "--config", config, "--run", here / "run", "--until", 4)
    here.rename(there)
    shutil.copytree(dataset_folder, there / "data")
    moved = there / "run" / "config.yaml"
    changed(moved, lambda settings: settings["data"].update(path="../data"))
    done("train", "--config", moved, "--run", there / "run")
    done("oracle", "--run", there / "run")
    done("export", "--run", there / "run", "--out", tmp_path / "a.bundle")
    assert read_bundle(tmp_path / "a.bundle").manifest.provenance.updates == 6


def test_phase_two_begins_from_a_finished_phase_one(make_trained):
    run = make_trained("offline.updates=7")
    with pytest.raises(RunError, match=r"done 6 of 7 updates.*`fieldtune train` again.* to 6 in"):
        train_in_process(run, run.oracle_checkpoint, true_rewards=True)
    assert not run.oracle_checkpoint.exists()


@pytest.fixture
def unfinished(write_config, tmp_path):
    """A run stopped after four of six updates, and the command that it was begun with."""
    config = write_config(tmp_path / "c.yaml")
    command = ["train", "--config", config, "--run", tmp_path / "run"]
    done(*command, "--until", 4)
    return tmp_path / "run", command


def test_the_commands_of_phase_two_name_the_cure_and_it_helps(unfinished):
    run, train = unfinished
    said = "phase 1 has done 4 of 6 updates, and phase 2 begins from its end"
    refused(said, "oracle", "--run", run)
    refused(said, "finetune", "--run", run, "--address", ANY)
    assert [path.name for path in (run / "checkpoints").glob("*.safetensors")] == [
        "offline.safetensors"
    ]
    done(*train)
    done("oracle", "--run", run)
    parent = read_facts(run / "checkpoints" / "oracle.safetensors")["parent"]
    assert parent["updates"] == 6


def test_phase_two_of_another_phase_one_neither_goes_on_nor_is_compared(unfinished):
    run, _ = unfinished
    config, oracle = run / "config.yaml", run / "checkpoints" / "oracle.safetensors"
    changed(config, lambda settings: settings["offline"].update(updates=4))  # to end it here
    done("oracle", "--run", run)
    changed(config, lambda settings: settings["offline"].update(updates=6))
    done("train", "--config", config, "--run", run)
    kept = oracle.read_bytes()
    said = f"{oracle} was begun from 4 updates of phase 1, and "
    refused(said, "oracle", "--run", run)
    refused(said, "evaluate", "--run", run)
    assert oracle.read_bytes() == kept
    oracle.unlink()
    done("oracle", "--run", run)
    assert read_facts(oracle)["parent"]["updates"] == 6


def test_a_phase_one_that_was_trained_again_otherwise_is_another(make_trained):
    run = make_trained()
    train_in_process(run, run.finetune_checkpoint, true_rewards=False)
    with safe_open(run.offline_checkpoint, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(run.offline_checkpoint)
    name = next(name for name in tensors if name.startswith("agent.policy"))
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, run.offline_checkpoint, header)
    with pytest.raises(CheckpointError, match=r"begun from 6 updates.* has other weights now"):
        evaluate_run(run)
    assert averaged(run, run.finetune_checkpoint) is not None


def test_the_same_phase_one_trained_again_is_the_same(make_run, make_trained):
    run, again = make_trained(), make_run(folder="again")
    train_in_process(run, run.finetune_checkpoint, true_rewards=False)
    train_offline(again)
    shutil.copy(again.offline_checkpoint, run.offline_checkpoint)
    assert list(evaluate_run(run).phases) == ["before", "after"]
