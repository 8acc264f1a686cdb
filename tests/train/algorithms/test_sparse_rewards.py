"""Where rewards are −1 or 0 the decoder classifies, and everything that uses it knows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.train.agent.graphs import DecoderGraph
from fieldtune.train.algorithms import losses
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.evaluation.measure import decoder_error, evaluate_run
from fieldtune.train.evaluation.results import write_metrics
from fieldtune.train.phases.labelling import decoded_rewards
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.reports.filmstrip import NoPicture
from fieldtune.train.reports.report import page
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.replays import held_out_replay
from fieldtune.train.runs.untrained import untrained

LINE = -0.35  # of the cheetah's reward: above it is success


@pytest.fixture
def run(make_run, short_family):
    """A run of a family whose reward is 0 above `LINE` and −1 below, and of its data."""
    kind = type(short_family)

    class Sparse(kind):
        sparse_reward = True

        def reward(self, *transition):
            return np.where(kind.reward(self, *transition) > LINE, 0.0, -1.0)

    def labelled(tasks):
        return [
            [replace(e, rewards=np.where(e.rewards > LINE, 0.0, -1.0)) for e in task]
            for task in tasks
        ]

    one = make_run("evaluation.repeats=3")
    data = one.dataset
    sparse = Dataset(
        data.id, data.train_tasks, data.test_tasks, labelled(data.train), labelled(data.test)
    )
    assert 0.05 < 1 + sparse.rewards().mean() < 0.95
    return replace(one, family=Sparse(), dataset=sparse)


@pytest.fixture
def smac(run):
    torch.manual_seed(0)
    return untrained(run)


@pytest.fixture
def agent(smac):
    return smac.agent


def test_the_decoder_learns_the_log_likelihood_of_success(run, monkeypatch):
    seen = []

    def spied(logit, success):
        seen.append(success)
        return torch.nn.functional.binary_cross_entropy_with_logits(logit, success)

    monkeypatch.setattr(losses, "success_loss", spied)
    train_offline(run)
    assert len(seen) == 6
    taught = torch.stack(seen)
    torch.testing.assert_close(taught, taught.round(), atol=1e-6, rtol=0)
    assert 0 < taught.mean() < 1


def test_labels_are_rewards_that_there_are_and_as_likely_as_the_decoder_says(run, agent):
    episode, z = run.dataset.train[0][0], torch.tensor([0.5, -1.0, 2.0])
    with torch.no_grad():
        agent.decoder.body[-1].weight.mul_(4)
    torch.manual_seed(0)
    labels = np.stack([decoded_rewards(agent, episode, z) for _ in range(2000)])
    assert set(np.unique(labels)) == {-1.0, 0.0}
    graph = DecoderGraph(agent.decoder, agent.normalisation, sparse=True)
    s, a = (torch.from_numpy(x).float() for x in (episode.observations[:-1], episode.actions))
    with torch.no_grad():
        expected = graph(s, a, z.expand(len(a), -1)).squeeze(-1).numpy()
    assert ((expected > -1) & (expected < 0)).all()
    np.testing.assert_allclose(labels.mean(axis=0), expected, atol=0.04)
    surest = labels[
        :, np.argsort(expected)
    ]  # of one trajectory: what is likelier is never left out
    assert (np.diff(surest, axis=1) >= 0).all()


def test_the_robot_gets_the_expected_reward_in_the_familys_units(run, smac, agent, tmp_path):
    from fieldtune.robot.policy.policy import Policy

    path = tmp_path / "policy.bundle"
    policy = Policy(Exporter(run, smac).write(path, phase="offline", updates=0))
    episode, z = run.dataset.train[0][0], np.array([0.5, -1.0, 2.0])
    found = policy.decode(episode.observations[0], episode.actions[0], z)
    graph = DecoderGraph(agent.decoder, agent.normalisation, sparse=True)
    rows = (episode.observations[:1], episode.actions[:1], z[None])
    with torch.no_grad():
        expected = graph(*(torch.from_numpy(row).float() for row in rows)).item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_success_is_measured_beside_every_return(run):
    train_offline(run)
    found = evaluate_run(run)
    before = found.phases["before"]
    own = before.encoder
    assert np.shape(own.successes) == np.shape(own.returns) == (3, 2, 3)
    assert np.shape(before.offline_successes) == (2, 3)
    assert set(np.ravel(own.successes)) <= {0.0, 1.0}
    nothing = np.array(own.returns) == -run.family.horizon
    assert not np.array(own.successes)[nothing].any()
    assert found.decoder.calibration is not None
    assert found.success == {
        "offline_context": np.mean(before.offline_successes),
        "online_before": np.mean(own.successes[2]),
        "likelihood_before": np.mean(before.likelihood.successes[2]),
        "first_episode_before": np.mean(before.likelihood.first_episode.successes),
        "random": 0.0,
    }
    write_metrics(run.folder / "metrics.json", found, {})
    assert json.loads((run.folder / "metrics.json").read_text())["success"] == found.success
    told = page(run, found, NoPicture("dark"), {})
    assert '<th class="numeric">success</th>' in told
    assert "As a classifier of success its Brier score is" in told


def test_the_decoder_is_judged_by_its_calibration(run, agent):
    with torch.no_grad():
        for parameter in agent.decoder.parameters():
            parameter.zero_()
    found = decoder_error(agent, held_out_replay(run, agent), seed=0)
    assert found.calibration is not None
    assert found.calibration.brier == pytest.approx(0.25)
    assert [each.predicted for each in found.calibration.bins] == [0.5]
    assert found.root_mean_square == pytest.approx(0.5)


def test_dense_families_have_neither(make_trained):
    found = evaluate_run(make_trained("evaluation.repeats=1"))
    assert found.decoder.calibration is None
    assert found.phases["before"].encoder.successes is None
    assert found.phases["before"].offline_successes is None
    assert found.success is None
