from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.export.bundle import Bundle, BundleMismatch, read_bundle
from fieldtune.export.convert import convert
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.layout import bounds
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.posterior import product_of_factors
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.evaluation.on_board import measure_bundle
from fieldtune.train.phases.labelling import decoded_rewards
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs import bundles
from fieldtune.train.runs.bundle_samples import dataset_samples
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.checkpoint import load_checkpoint, load_networks
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline
from fieldtune.train.runs.untrained import untrained, untrained_from_seed
from tests.board import assert_runs_on_board

Z = torch.tensor([0.7, -1.2, 0.3])
FIRST = 11  # of a cheetah's joint velocities


@pytest.fixture(scope="module")
def shared(tmp_path_factory, make_config, offline_checkpoint, small_dataset, short_family):
    """A trained run, its agent and its exported bundle, for those who only read; torch's random
    state before and after."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "offline.safetensors").write_bytes(offline_checkpoint.read_bytes())
    run = Run(make_config(), folder, short_family, small_dataset)
    trained = after_offline(run)
    path = folder / "policy.bundle"
    before = torch.get_rng_state()
    Exporter(run, trained).write(path, phase="offline", updates=6)
    return run, trained.agent, path, before, torch.get_rng_state()


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
    certain = agent.actor(Z.unsqueeze(0), torch.zeros(1, 3))
    (episode,) = run_episodes(certain, run.family, simulator, np.array([3]), np.array([[1.0]]))
    simulator.close()
    found = [policy.act(s, Z.double().numpy()) for s in episode.observations[:-1]]
    close(np.array(found), episode.actions)


def test_a_converted_bundle_is_measured_on_the_runs_data_and_returns_what_it_returns(shared):
    run, _, path, *_ = shared
    assert_runs_on_board(bundle := read_bundle(path))
    samples = dataset_samples(run, bundle.manifest, 64)
    assert {name: column.shape[1] for name, column in samples.items()} == {
        "observation": bundle.manifest.observation_width,
        "next_observation": bundle.manifest.observation_width,
        "action": bundle.manifest.action_width,
        "reward": 1,
        "z": 3,
    }
    returned = measure_bundle(run, bundle)
    tasks, repeats = len(run.dataset.test_tasks), run.config.evaluation.repeats
    assert returned.returns.shape == (tasks, repeats)
    static = convert(bundle, "static", samples, f"dataset {run.dataset.id}")
    np.testing.assert_array_equal(measure_bundle(run, static).returns, returned.returns)
    assert measure_bundle(run, bundle, repeats + 1).returns.shape == (tasks, repeats + 1)
    other = bundle.manifest.model_copy(update={"robot": "other"})
    with pytest.raises(BundleMismatch, match="the bundle was made for 'other'"):
        dataset_samples(run, other, 8)


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
    assert (provenance.parent_bundle, provenance.warm_start) == (None, None)
    assert b"warm_start" not in path.read_bytes()  # a key that robots from before refuse


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
    trained = after_offline(run)
    agent = trained.agent
    exporter = Exporter(run, trained)
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
    trained = after_offline(run)
    with torch.no_grad():
        trained.agent.policy.body[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"policy.body.0.weight among them"):
        Exporter(run, trained).write(tmp_path / "bad.bundle", phase="offline", updates=6)
    assert not (tmp_path / "bad.bundle").exists()


def test_task_embeddings_are_draws_from_each_tasks_own_data(shared, random_episodes):
    _, agent, path, *_ = shared
    embeddings = np.array(read_bundle(path).manifest.task_embeddings)
    for task in range(6):
        with torch.no_grad():
            mean, variance = agent.infer(context_of(agent, random_episodes[0][2 * task :][:2]))
        distance = (embeddings[task] - mean[0].numpy()) / variance[0].sqrt().numpy()
        assert np.abs(distance).max() < 5


@pytest.fixture(scope="module")
def almost_constant(
    tmp_path_factory, make_config, small_dataset, short_family
) -> tuple[Run, Agent, Exporter, Bundle, float]:
    """A run whose first joint velocity moves by 2e-6 rad/s only; its agent after a phase 1, whose
    policy listens to that number as much as it can; its exporter, bundle and the deviation. It
    infers by the encoder, and the prior is no factor of its posterior."""

    def still(episode):
        observations = episode.observations.copy()
        observations[:, FIRST] = 2e-6 * np.sin(np.arange(len(observations)))
        return replace(episode, observations=observations)

    kept = {
        name: [[still(e) for e in task] for task in getattr(small_dataset, name)]
        for name in ("train", "test")
    }
    folder = tmp_path_factory.mktemp("still")
    (folder / "checkpoints").mkdir()
    config = make_config(
        "inference=encoder",
        "algorithm.prior_factor=false",
        "algorithm.distribution.log_std=[-0.1, 0.1]",
    )
    run = Run(config, folder, short_family, replace(small_dataset, **kept))
    trained = train_offline(run)
    agent = trained.agent
    with torch.no_grad():
        agent.policy.body[0].weight[:, FIRST] = 1.0
    exporter = Exporter(run, trained)
    bundle = exporter.write(folder / "still.bundle", phase="offline", updates=6)
    return run, agent, exporter, bundle, run.dataset.observations()[:, FIRST].std()


def test_noise_on_an_almost_constant_number_moves_no_action(almost_constant):
    """Twenty deviations of noise saturated the outputs; so did 0.01 m on what moved by 2e-6."""
    run, _, _, bundle, deviation = almost_constant
    policy, rng = Policy(bundle), np.random.default_rng(0)
    for s in run.dataset.train[0][0].observations:
        action = policy.act(s, Z.double().numpy())
        for noise in (20 * deviation, 0.01, 1e30):
            noisy = s.copy()
            noisy[FIRST] += noise * rng.choice([-1, 1])
            found = policy.act(noisy, Z.double().numpy())
            np.testing.assert_allclose(found, action, atol=1e-3)


def test_what_is_clipped_is_clipped_alike_by_torch_and_onnx_runtime(almost_constant):
    run, agent, _, bundle, _ = almost_constant
    policy, rng = Policy(bundle), np.random.default_rng(1)
    episode = run.dataset.train[0][0]
    off = 10.0 ** rng.uniform(-2, 30, size=episode.observations.shape)
    signs = rng.choice([-1.0, 0.0, 1.0], size=off.shape)
    far = replace(
        episode,
        observations=episode.observations + signs * off,
        rewards=episode.rewards + 1e3 * rng.standard_normal(episode.steps),
    )
    s = far.observations
    factors = [policy.encode(s[t], far.actions[t], far.rewards[t], s[t + 1]) for t in range(20)]
    labels = [policy.decode(s[t], far.actions[t], Z.double().numpy()) for t in range(20)]
    means = [policy.act(s[t], Z.double().numpy()) for t in range(20)]
    mean, variance = (torch.from_numpy(np.array(part)) for part in zip(*factors, strict=True))
    with torch.no_grad():
        expected = agent.infer(context_of(agent, [far]))
        scaled = torch.from_numpy(agent.normalisation.observation(s[:-1]))
        acted = torch.tanh(agent.policy(scaled, Z.expand(20, -1))[0])
    product = product_of_factors(mean, variance, prior_factor=False)
    for found, wanted in zip(product, expected, strict=True):
        close(found.numpy(), wanted[0].numpy())
    close(np.array(labels), decoded_rewards(agent, far, Z))
    close(np.array(means), acted.numpy())


def test_what_ends_the_gaussians_and_the_prior_go_with_the_bundle(almost_constant):
    """Robot and agent, one transition at a time and all at once; and before any."""
    run, agent, _, bundle, _ = almost_constant
    assert not bundle.manifest.prior_factor
    policy, episode = Policy(bundle), run.dataset.train[1][0]
    s, known = episode.observations, policy.prior()
    actor = agent.adapt([context_of(agent, [])])
    close(known.mean, actor.mean[0].numpy())
    close(known.variance, actor.variance[0].numpy())
    for t in range(20):
        transition = s[t], episode.actions[t], episode.rewards[t], s[t + 1]
        known = policy.update(known, *transition)
        s_t, a_t, r_t, reached = (np.asarray(part)[None] for part in transition)
        actor.heed(s_t, a_t, r_t, reached)
        close(known.mean, actor.mean[0].numpy())
        close(known.variance, actor.variance[0].numpy())
    with torch.no_grad():
        mean, variance = agent.infer(context_of(agent, [episode]))
    close(known.mean, mean[0].numpy())
    close(known.variance, variance[0].numpy())
    _, log_std = policy._policy(s[0], Z.double().numpy())
    assert np.abs(log_std).max() <= np.float32(0.1)
    assert (np.abs(log_std) == np.float32(0.1)).any()


def test_the_parity_check_reaches_beyond_the_data(almost_constant):
    run, _, exporter, *_ = almost_constant
    seen = run.dataset.observations()
    beyond = (exporter._samples["observation"] > seen.max(axis=0)).any(axis=1)
    assert 0.2 < beyond.mean() < 0.3


def test_an_export_names_what_is_almost_constant(almost_constant):
    *_, exporter, _, _ = almost_constant
    named = [str(each) for each in exporter.almost_constant()]
    assert "joint_velocity[0] (deviation 1.4e-06 rad/s, floor 0.05)" in named


def test_constants_are_the_checkpoints_and_not_those_of_the_data_that_are_there(
    almost_constant, small_dataset
):
    """Other data than a checkpoint's are refused (test_origin.py): this asks the loading itself."""
    run, agent, *_ = almost_constant
    elsewhere = replace(run, dataset=small_dataset)
    loaded = untrained(elsewhere)
    assert not loaded.agent.normalisation.same(agent.normalisation)
    load_networks(run.offline_checkpoint, loaded.networks)
    assert loaded.agent.normalisation.same(agent.normalisation)
    resumed, rng = untrained_from_seed(elsewhere, 1e-3, 0)
    load_checkpoint(run.offline_checkpoint, resumed, rng)
    assert resumed.agent.normalisation.same(agent.normalisation)


def test_what_computes_elsewhere_is_exported_from_a_copy_on_the_cpu(shared, tmp_path, monkeypatch):
    """The same bundle as from the CPU itself; the copy follows the weights as they learn."""
    run, _, path, *_ = shared
    monkeypatch.setattr(bundles, "device_of", lambda _: torch.device("cuda"))
    trained = after_offline(run)
    exporter = Exporter(run, trained)
    assert exporter._trained is not trained
    first = exporter.write(tmp_path / "first.bundle", phase="offline", updates=6)
    assert first.id == read_bundle(path).id
    with torch.no_grad():
        trained.agent.policy.body[-1].bias.add_(0.5)
    changed = exporter.write(tmp_path / "changed.bundle", phase="offline", updates=6)
    monkeypatch.undo()
    expected = Exporter(run, trained).write(tmp_path / "own.bundle", phase="offline", updates=6)
    assert changed.id == expected.id != first.id
