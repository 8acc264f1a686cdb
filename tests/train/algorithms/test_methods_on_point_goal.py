"""FOCAL, CSRO and UNICORN on the point robot, in seconds: they learn, infer, and go on a robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.train.agent.units import context_of
from fieldtune.train.cli.app import app
from fieldtune.train.collecting.collect import collect
from fieldtune.train.evaluation.measure import measure
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs import added_decoder
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from tests.board import assert_runs_on_board

CONFIG = Path(__file__).parents[3] / "configs" / "point-goal.yaml"
NAMES = ("focal", "csro", "unicorn")
QUICK = (
    "workers=1",
    "data.episodes_per_task=8",
    "offline.updates=300",
    "evaluation.context_episodes=1",
    "evaluation.repeats=1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on few data, and each method after few updates on it."""
    folder = tmp_path_factory.mktemp("point-goal")
    config = load_config(CONFIG, overrides=[f"data.path={folder / 'data'}", *QUICK])
    collect(config)
    run = open_run(config, folder / "run")
    return run, {name: train_offline(run, name=name) for name in NAMES}


@pytest.fixture
def quick_decoder(monkeypatch):
    monkeypatch.setattr(added_decoder, "UPDATES", 200)


@pytest.mark.usefixtures("quick_decoder")
@pytest.mark.parametrize("name", NAMES)
def test_it_finds_goals_by_what_it_is_told_of_a_task_by_either_inference(trained, name):
    run, learned = trained
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        found = measure(run, evaluator, learned[name], 300, 0)
    finally:
        evaluator.close()
    blind = np.mean(found.encoder.returns[0])
    assert np.mean(found.offline_returns) > blind + 3
    assert np.mean(found.likelihood.returns[1]) > blind + 3


def test_a_decoder_is_added_to_a_copy_alone_and_is_the_same_every_time(trained, monkeypatch):
    run, learned = trained
    monkeypatch.setattr(added_decoder, "UPDATES", 30)
    focal = learned["focal"]
    before = {key: value.clone() for key, value in focal.networks.state_dict().items()}
    random = torch.get_rng_state()
    one, two = (added_decoder.decoded(run, focal).networks.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), random)
    moved = {key.split(".")[0] for key, value in one.items() if not torch.equal(value, before[key])}
    assert moved == {"decoder"}
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert all(
        torch.equal(value, before[key]) for key, value in focal.networks.state_dict().items()
    )
    assert added_decoder.decoded(run, learned["unicorn"]) is learned["unicorn"]


def test_it_is_exported_from_a_studys_seed_with_the_decoder_that_it_was_given(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(added_decoder, "UPDATES", 5)
    out = tmp_path / "focal.bundle"
    arguments = ["export", "--run", str(trained[0].folder), "--method", "focal", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    bundle = read_bundle(out)
    assert_runs_on_board(bundle)
    assert bundle.manifest.likelihood is not None
    assert not bundle.manifest.prior_factor

    run, learned = trained  # what a robot averages is the trainer's z
    (episode, *_), agent = run.dataset.test[3], learned["focal"].agent
    columns = episode.observations[:-1], episode.actions, episode.rewards[:, None]
    rows = dict(zip(("observation", "action", "reward"), columns, strict=True))
    encoder = onnxruntime.InferenceSession(bundle.graphs["encoder.onnx"])
    points, variance = encoder.run(None, {k: v.astype(np.float32) for k, v in rows.items()})
    z = agent.infer(context_of(agent, [episode]))[0][0].detach().numpy()
    np.testing.assert_allclose(points.mean(axis=0), z, atol=1e-5)
    assert len(np.unique(variance)) == 1


@pytest.mark.parametrize(
    ("method", "says"),
    [("csrp", "did you mean 'csro'"), ("pearl", "pearl was not trained here: `fieldtune study`")],
)
def test_what_cannot_be_exported_is_said_with_the_cure(trained, tmp_path, method, says):
    arguments = ["export", "--run", str(trained[0].folder), "--out", str(tmp_path / "x.bundle")]
    done = CliRunner().invoke(app, [*arguments, "--method", method])
    assert done.exit_code == 1
    assert says in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())
