"""`cheetah-vel` through the same commands as any family: collect, train, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import read_dataset, read_metadata
from fieldtune.train.runs.checkpoint import read_facts

CONFIG = Path(__file__).parents[3] / "configs" / "cheetah-vel.yaml"
TINY = [
    "data.episodes_per_task=1",
    "data.agent={rounds: 2, updates_per_round: 5}",
    "algorithm.networks={encoder: [32], policy: [32], critic: [32], decoder: [32]}",
    "offline.updates=30",
    "offline.checkpoint_every=20",
]


def fieldtune(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """A folder in which the three commands ran on a tiny dataset."""
    folder = tmp_path_factory.mktemp("cheetah")
    settings = [f"data.path={folder / 'data'}", *TINY]
    fieldtune("collect", "--config", CONFIG, *settings)
    fieldtune("train", "--config", CONFIG, "--run", folder / "run", *settings)
    fieldtune("export", "--run", folder / "run", "--out", folder / "cheetah.bundle")
    return folder


@pytest.mark.slow
def test_the_dataset_has_the_references_tasks_and_says_how_it_was_made(loop):
    family = CheetahVelFamily()
    data = read_dataset(loop / "data", family)
    assert [len(episodes) for episodes in data.train] == [1] * 100
    assert [len(episodes) for episodes in data.test] == [1] * 30
    episode, task = data.train[17][0], data.train_tasks[17]
    rewards = family.reward(
        episode.observations[:-1], episode.actions, episode.observations[1:], task
    )
    np.testing.assert_allclose(episode.rewards, rewards, atol=1e-12)
    how = read_metadata(loop / "data")["how"]
    assert (how["agent"]["rounds"], how["agent"]["updates_per_round"]) == (2, 5)
    assert len(how["return_by_round"]) == 2


@pytest.mark.slow
def test_the_offline_phase_runs_to_its_last_update(loop):
    facts = read_facts(loop / "run" / "checkpoints" / "offline.safetensors")
    assert facts["updates"] == 30


@pytest.mark.slow
def test_the_bundle_verifies_and_its_policy_acts_on_the_simulated_cheetah(loop):
    family = CheetahVelFamily()
    bundle = read_bundle(loop / "cheetah.bundle")
    manifest = bundle.manifest
    assert (manifest.family, manifest.horizon, manifest.period_s) == ("cheetah-vel", 200, 0.05)
    assert len(manifest.task_embeddings) == 100
    assert manifest.provenance.updates == 30
    policy = onnxruntime.InferenceSession(bundle.graphs["policy.onnx"])
    simulator = family.simulator(2)
    seen = simulator.reset(np.arange(2), np.zeros((2, 1)))
    inputs = {"observation": seen.astype(np.float32), "z": np.zeros((2, 5), np.float32)}
    mean, log_std = policy.run(None, inputs)
    simulator.close()
    assert mean.shape == log_std.shape == (2, 6)
    assert np.isfinite(mean).all()


@pytest.mark.slow
def test_a_dataset_is_never_overwritten(loop):
    arguments = ["collect", "--config", str(CONFIG), f"data.path={loop / 'data'}"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "never overwritten" in result.output


def test_too_little_work_for_the_data_is_refused_before_any_is_done(tmp_path):
    few = [f"data.path={tmp_path / 'data'}", "data.agent.rounds=2"]
    result = CliRunner().invoke(app, ["collect", "--config", str(CONFIG), *few])
    assert result.exit_code == 1
    assert "set data.agent.rounds to 10 or more" in result.output
    assert not any(tmp_path.iterdir())


def test_an_agent_for_scripted_data_is_refused(tmp_path):
    reach = CONFIG.with_name("reach.yaml")
    arguments = [f"data.path={tmp_path / 'data'}", "data.agent={rounds: 2, updates_per_round: 5}"]
    result = CliRunner().invoke(app, ["collect", "--config", str(reach), *arguments])
    assert result.exit_code == 1
    assert "data.agent is set" in result.output
