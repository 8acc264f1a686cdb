"""Training that diverges: it stops, says when and why, and what was sound stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fieldtune.sim.registry import family
from fieldtune.train.algorithms.losses import spread, standardised_weights
from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.cli.app import app
from fieldtune.train.collecting.agent_replay import collect_replay
from fieldtune.train.collecting.resumable import resumable_collection
from fieldtune.train.config import AgentReplay
from fieldtune.train.phases.finetune import Finetune
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import (
    CheckpointError,
    Progress,
    load_networks,
    read_facts,
    save_checkpoint,
)
from fieldtune.train.runs.diverged import Watch
from fieldtune.train.runs.untrained import untrained

ABSURD = "algorithm.learning_rate=1e8"


def test_phase_1_stops_and_keeps_its_last_finite_checkpoint(make_run):
    rate = "algorithm.learning_rate=1e6"  # the first update still is finite
    run = make_run(rate, "offline.updates=50", "offline.checkpoint_every=1")
    with pytest.raises(TrainingDiverged) as error:
        train_offline(run)
    said, kept = str(error.value), read_facts(run.offline_checkpoint)["updates"]
    assert f"update {kept + 1}: " in said
    assert "learning has diverged" in said
    assert "lower algorithm.learning_rate (1e+06)" in said
    assert f"{run.offline_checkpoint}, is of {kept} updates and stays" in said
    load_networks(run.offline_checkpoint, untrained(run).agent)  # refuses what is not finite


@pytest.mark.parametrize("method", ["meta-bc", "pearl"])
def test_baselines_stop_too(make_run, method):
    run = make_run(ABSURD, "offline.updates=500")
    with pytest.raises(TrainingDiverged, match="No checkpoint was written yet"):
        train_offline(run, name=method)
    assert list(run.offline_checkpoint.parent.iterdir()) == []


def test_the_command_ends_with_a_message_and_without_success(write_config, tmp_path):
    config, run = write_config(tmp_path / "run.yaml"), tmp_path / "run"
    command = ["train", "--config", str(config), "--run", str(run), ABSURD, "offline.updates=50"]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code != 0
    assert "learning has diverged; lower algorithm.learning_rate" in ended.stderr
    exported = CliRunner().invoke(app, ["export", "--run", str(run), "--out", str(run / "x")])
    assert exported.exit_code != 0
    assert exported.stderr.count("\n") == 1
    assert "no such checkpoint" in exported.stderr


def test_phase_2_stops_too(make_trained):
    run = make_trained("self_supervised.learning_rate=1e8", "self_supervised.updates=200")
    with pytest.raises(TrainingDiverged, match=r"lower self_supervised.learning_rate \(1e\+08\)"):
        train_in_process(run, run.oracle_checkpoint, true_rewards=True)


def test_finetuning_stops_and_leaves_the_bundle_that_robots_have(
    make_trained, random_episodes, tmp_path
):
    """It goes on from a checkpoint that has its episodes: no robot is needed."""
    run = make_trained("self_supervised.learning_rate=1e8", "self_supervised.updates=200")
    phase = SelfSupervisedPhase(run)
    phase.add_unlabelled(random_episodes[0][:10])
    phase.save(run.finetune_checkpoint)
    kept = run.finetune_checkpoint.read_bytes()
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        finetune = Finetune(run, hub)
        with pytest.raises(TrainingDiverged, match=r"self-supervised\.safetensors, is of"):
            finetune.work()
    assert run.finetune_checkpoint.read_bytes() == kept
    assert (run.bundles / "latest.bundle").exists()


def test_the_agent_behind_data_stops_and_its_rounds_stay(tmp_path):
    settings = AgentReplay(rounds=3, updates_per_round=20, hidden=(8,), learning_rate=1e12)
    with (
        pytest.raises(TrainingDiverged, match=r"round \d, update \d+: .*data.agent.learning_rate"),
        resumable_collection(tmp_path / "kept", {}) as kept,
    ):
        collect_replay(family("hopper-params"), 0, 1, settings, kept=kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e16])
def test_a_metric_that_is_no_loss_of_a_learner_is_named(tmp_path, value):
    watch = Watch(tmp_path / "none", "a.rate", 1.0)
    watch.look(1, {"critic/loss": 1e6, "actor/loss": -1e6})
    with pytest.raises(TrainingDiverged, match=r"update 1,234: critic/loss is .*a.rate \(1\)"):
        watch.look(1234, {"actor/loss": 1.0, "critic/loss": value})


@pytest.mark.parametrize("what", ["weight", "optimiser", "array"])
def test_nothing_that_is_not_finite_replaces_a_checkpoint(make_learner, make_batch, tmp_path, what):
    path, learner, rng = tmp_path / "some.safetensors", make_learner(), np.random.default_rng(0)
    learner.update(make_batch(0, rows=7), make_batch(1))
    arrays = {"average.policy": np.ones(3, np.float32), "steps": np.arange(3)}
    save_checkpoint(path, learner, rng, Progress({"updates": 1}, arrays))
    before = path.read_bytes()
    with torch.no_grad():
        if what == "weight":
            learner.agent.q1.body[0].weight[0, 0] = float("nan")
        elif what == "optimiser":
            state = learner.optimisers["policy"].state
            next(iter(state.values()))["exp_avg"].fill_(float("inf"))
        else:
            arrays["average.policy"][1] = np.nan
    with pytest.raises(
        TrainingDiverged, match=r"some.safetensors: 1 of \d+ tensors are not finite"
    ):
        save_checkpoint(path, learner, rng, Progress({"updates": 2}, arrays))
    assert path.read_bytes() == before


def test_a_spoilt_checkpoint_is_one_sentence_and_not_loaded(make_trained):
    run = make_trained()
    with safe_open(run.offline_checkpoint, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(run.offline_checkpoint)
    tensors["agent.policy.body.0.weight"].fill_(float("nan"))
    save_file(tensors, run.offline_checkpoint, metadata=header)
    with pytest.raises(
        CheckpointError, match=r"1 of \d+ weights are not finite, agent.policy.body.0.weight"
    ):
        load_networks(run.offline_checkpoint, untrained(run).agent)


def test_one_task_and_one_row_give_numbers(make_learner, make_batch):
    """Both deviations were those of one number: NaN, and with them the actor's weights."""
    metrics = make_learner().update(make_batch(tasks=1), make_batch(tasks=1, rows=1))
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert metrics["encoder/mean_spread"] == 0.0


def test_the_spread_of_many_rows_is_torchs_own():
    values = torch.randn(50)
    assert spread(values) == values.std()
    assert standardised_weights(torch.ones(1), 0.5, 20.0).tolist() == [1.0]
