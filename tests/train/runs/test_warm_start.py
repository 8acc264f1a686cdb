"""A new run begins with another's weights, keeps that in mind, and refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fieldtune.exit_status import MISTAKE
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import read_dataset, write_dataset
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.capabilities import require_exportable
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.trained import after_offline, newest
from fieldtune.train.runs.untrained import unseen, untrained
from fieldtune.train.runs.warm_start import begin_with, load_start


@pytest.fixture
def make_kept(make_config, tmp_path):
    """`make_kept("a.b=value", ..., folder="run", trained=True)`: a run with its file, on disk."""

    def make(*overrides, folder="run", trained=True):
        run = open_run(make_config(*overrides), tmp_path / folder)
        if trained:
            train_offline(run)
        return run

    return make


@pytest.fixture
def wider_data(dataset_folder, short_family, tmp_path):
    """The tiny dataset with observations three times as far apart."""

    def moved(tasks) -> list[LabelledEpisode]:
        return [
            LabelledEpisode(i, 3 * e.observations, e.actions, e.rewards, e.terminated)
            for i, task in enumerate(tasks)
            for e in task
        ]

    data = read_dataset(dataset_folder, short_family)
    folder = tmp_path / "wider"
    write_dataset(folder, short_family, train=moved(data.train), test=moved(data.test), how={})
    return folder


def test_what_was_unseen_stays_so_and_another_choice_is_refused(make_kept, wider_data):
    hidden = "algorithm.unseen=[joint_velocity]"
    source = make_kept(hidden)
    run = make_kept(f"data.path={wider_data}", hidden, folder="warm", trained=False)
    begin_with(run, source.folder)
    learner = untrained(run)
    load_start(run, learner)
    seen = np.random.default_rng(0).normal(size=(5, 20))
    assert not learner.normalisation.observation(seen)[:, unseen(run)].any()
    other = make_kept(f"data.path={wider_data}", folder="other", trained=False)
    with pytest.raises(RunError, match=r"algorithm\.unseen is \[\], there \[\"joint_velocity\"\]"):
        begin_with(other, source.folder)


def test_it_begins_with_the_weights_units_and_a_wider_range(make_kept, wider_data):
    source = make_kept()
    run = make_kept(f"data.path={wider_data}", "seed=3", folder="warm", trained=False)
    begin_with(run, source.folder)
    begun = untrained(run)
    mine = begun.normalisation
    load_start(run, begun)
    theirs = after_offline(source)
    for name, tensor in theirs.networks.state_dict().items():
        assert torch.equal(begun.networks.state_dict()[name], tensor), name
    known, old = begun.normalisation, theirs.normalisation
    np.testing.assert_array_equal(known.observation_mean, old.observation_mean)
    assert known.reward_std == old.reward_std
    physical = mine.observation_high * mine.observation_std + mine.observation_mean
    np.testing.assert_allclose(
        known.observation_high * known.observation_std + known.observation_mean,
        np.maximum(physical, old.observation_high * old.observation_std + old.observation_mean),
        rtol=1e-4,
    )


def test_it_is_resumed_without_its_source_and_its_bundle_says_where_it_is_from(
    make_kept, same, monkeypatch
):
    source = make_kept()
    whole, cut = (make_kept("seed=3", folder=name, trained=False) for name in ("whole", "cut"))
    for run in (whole, cut):
        begin_with(run, source.folder)
    train_offline(whole)
    train_offline(cut, until=2)
    begin_with(cut, source.folder)  # the same command again
    source.offline_checkpoint.unlink()
    train_offline(cut)
    assert same(load_file(cut.offline_checkpoint), load_file(whole.offline_checkpoint))
    assert read_facts(cut.offline_checkpoint) == read_facts(whole.offline_checkpoint)
    cold = make_kept("seed=3", folder="cold")
    assert not same(
        after_offline(cold).networks.state_dict(), after_offline(cut).networks.state_dict()
    )
    trained, phase, updates = newest(cut)
    written = []
    monkeypatch.setattr(
        "fieldtune.train.runs.bundles.write_bundle", lambda _, said, **__: written.append(said)
    )
    exporter = Exporter(cut, require_exportable(cut, trained))
    exporter.write(cut.bundles / "warm.bundle", phase=phase, updates=updates)
    assert written[0].provenance.warm_start == read_facts(cut.start)["weights"]
    cut.start.unlink()
    with pytest.raises(CheckpointError, match=r"began with other weights than start\.safetensors"):
        train_offline(cut)


def test_a_phase_2s_average_is_what_it_begins_with(make_kept):
    source = make_kept()
    train_in_process(source, source.finetune_checkpoint, true_rewards=False)
    run = make_kept(folder="warm", trained=False)
    begin_with(run, source.folder)
    begun = untrained(run)
    load_start(run, begun)
    for name, tensor in newest(source)[0].networks.state_dict().items():
        assert torch.equal(begun.networks.state_dict()[name], tensor), name
    assert read_facts(run.start)["phase"] == "self-supervised"


def test_what_does_not_fit_is_named_all_at_once_and_nothing_is_written(make_kept):
    source = make_kept()
    run = make_kept(
        "algorithm.latent_size=4", "algorithm.networks.policy=[9]", folder="two", trained=False
    )
    with pytest.raises(RunError) as refused:
        begin_with(run, source.folder)
    assert "algorithm.latent_size is 4, there 3" in str(refused.value)
    assert "algorithm.networks.policy is [9], there [8]" in str(refused.value)
    (source.folder / "a.bundle").write_bytes(b"")
    for wrong, said in (
        (source.folder / "a.bundle", "a bundle holds no critics"),
        (source.folder / "checkpoints", "no run here"),
    ):
        with pytest.raises(RunError, match=said):
            begin_with(run, wrong)
    assert not run.start.exists()
    with pytest.raises(RunError, match="has begun by itself"):
        begin_with(make_kept(folder="own"), source.folder)


def test_a_run_that_cannot_begin_so_is_neither_made_nor_changed(make_kept, tmp_path):
    """Else the same command without `--from` would go on with weights of chance, unsaid."""
    own = make_kept(folder="own")
    config = own.folder / "config.yaml"
    new = tmp_path / "new"
    done = CliRunner().invoke(
        app, ["train", "--config", str(config), "--run", str(new), "--from", str(tmp_path / "no")]
    )
    assert done.exit_code == MISTAKE, done.output
    assert not new.exists()
    before = config.read_bytes()
    told = ["--run", str(own.folder), "--updates", "900", "--from", str(make_kept().folder)]
    done = CliRunner().invoke(app, ["train", *told])
    assert done.exit_code == MISTAKE, done.output
    assert config.read_bytes() == before
