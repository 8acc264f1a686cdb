from __future__ import annotations

import numpy as np
import pytest
import torch

from export.bundle import read_bundle
from robot.policy import Policy
from robot.safety.layout import bounds
from train.acting import context_of, run_episodes
from train.bundles import Exporter
from train.labelling import decoded_rewards
from train.learner import TrainingDiverged
from train.phases import offline_agent
from train.posterior import product_of_factors
from train.run import Run

Z = torch.tensor([0.7, -1.2, 0.3])


@pytest.fixture(scope="module")
def shared(tmp_path_factory, make_config, offline_checkpoint, small_dataset, short_family):
    """A trained run, its agent and its exported bundle, for those who only read; torch's random
    state before and after."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "offline.safetensors").write_bytes(offline_checkpoint.read_bytes())
    run = Run(make_config(), folder, short_family, small_dataset)
    agent = offline_agent(run)
    path = folder / "policy.bundle"
    before = torch.get_rng_state()
    Exporter(run, agent).write(path, phase="offline", updates=6)
    return run, agent, path, before, torch.get_rng_state()


@pytest.fixture(scope="module")
def policy(shared):
    return Policy(read_bundle(shared[2]))


def close(found, expected):
    """Within 1e-5 of the largest value."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def test_the_robot_acts_as_the_agent_does(shared, policy):
    run, agent, *_ = shared
    simulator = run.family.simulator(1)
    certain = Z.unsqueeze(0), torch.zeros(1, 3)
    (episode,) = run_episodes(
        agent,
        run.family,
        simulator,
        np.array([3]),
        np.array([[1.0]]),
        certain,
        z_hold="episode",
        noise=0.0,
    )
    simulator.close()
    found = [policy.act(s, Z.double().numpy()) for s in episode.observations[:-1]]
    close(np.array(found), episode.actions)


def test_the_robot_labels_as_the_trainer_does(shared, policy, random_episodes):
    _, agent, *_ = shared
    episode = random_episodes[0][0]
    found = [
        policy.decode(s, a, Z.double().numpy())
        for s, a in zip(episode.observations[:-1], episode.actions, strict=True)
    ]
    close(np.array(found), decoded_rewards(agent, episode, Z))


def test_the_robot_infers_as_the_trainer_does(shared, policy, random_episodes):
    _, agent, *_ = shared
    episode = random_episodes[0][0]
    s = episode.observations
    factors = [
        policy.encode(s[t], episode.actions[t], episode.rewards[t], s[t + 1]) for t in range(20)
    ]
    mean, variance = (torch.from_numpy(np.array(part)) for part in zip(*factors, strict=True))
    with torch.no_grad():
        expected = agent.infer(context_of(agent, [episode]))
    for found, wanted in zip(product_of_factors(mean, variance), expected, strict=True):
        close(found.numpy(), wanted[0].numpy())


def test_the_manifest_says_where_the_weights_come_from(shared):
    run, agent, path, *_ = shared
    manifest = read_bundle(path).manifest
    assert (manifest.family, manifest.robot) == ("cheetah-vel", "half-cheetah")
    assert [field.name for field in manifest.observation_fields] == [
        field.name for field in run.family.observation_fields
    ]
    assert (manifest.horizon, manifest.period_s) == (20, run.family.period_s)
    assert (manifest.latent_size, len(manifest.task_embeddings)) == (agent.latent_size, 6)
    provenance = manifest.provenance
    assert (provenance.dataset, provenance.seed) == ("fieldtune/cheetah-vel-v0", 0)
    assert (provenance.phase, provenance.updates) == ("offline", 6)
    assert provenance.parent_bundle is None


def test_the_manifest_says_what_the_training_data_were_like(shared):
    run, _, path, *_ = shared
    rows = np.concatenate([e.observations for task in run.dataset.train for e in task])
    low, high = bounds(read_bundle(path).manifest.observation_seen)
    np.testing.assert_array_equal(low, rows.min(axis=0))
    np.testing.assert_array_equal(high, rows.max(axis=0))


def test_exporting_leaves_the_trainings_random_state_alone(shared):
    *_, before, after = shared
    assert torch.equal(before, after)


@pytest.mark.slow
def test_the_same_weights_give_the_same_id_wherever_the_run_lies_and_others_another(
    shared, make_trained, tmp_path
):
    torch.manual_seed(321)
    run = make_trained("robot.name=other", folder="elsewhere")
    agent = offline_agent(run)
    exporter = Exporter(run, agent)
    first = exporter.write(tmp_path / "a.bundle", phase="offline", updates=6)
    assert first.id == read_bundle(shared[2]).id
    with torch.no_grad():
        agent.decoder.body[-1].bias += 1.0
    second = exporter.write(
        tmp_path / "b.bundle", phase="self-supervised", updates=7, parent=first.id
    )
    assert second.id != first.id
    assert second.manifest.provenance.parent_bundle == first.id
    s, a, z = np.zeros(20), np.zeros(6), np.zeros(3)
    raised = Policy(second).decode(s, a, z) - Policy(first).decode(s, a, z)
    assert raised == pytest.approx(agent.normalisation.reward_std, rel=1e-4)


def test_weights_that_are_not_numbers_are_not_exported(make_trained, tmp_path):
    run = make_trained()
    agent = offline_agent(run)
    with torch.no_grad():
        agent.policy.body[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"policy.body.0.weight among them"):
        Exporter(run, agent).write(tmp_path / "bad.bundle", phase="offline", updates=6)
    assert not (tmp_path / "bad.bundle").exists()


def test_task_embeddings_are_draws_from_each_tasks_own_data(shared, random_episodes):
    _, agent, path, *_ = shared
    embeddings = np.array(read_bundle(path).manifest.task_embeddings)
    for task in range(6):
        with torch.no_grad():
            mean, variance = agent.infer(context_of(agent, random_episodes[0][2 * task :][:2]))
        distance = (embeddings[task] - mean[0].numpy()) / variance[0].sqrt().numpy()
        assert np.abs(distance).max() < 5
