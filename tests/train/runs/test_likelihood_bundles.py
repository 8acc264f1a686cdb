"""A bundle with particles: the robot weighs them as torch does, whatever the family's rewards."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy.familiarity import familiarity
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.refinement import PLACES
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import Particles, log_likelihood
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.evaluation.on_board import measure_bundle
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs import bundles
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import after_offline
from tests.board import assert_runs_on_board

LINE = -1.0  # of the cheetah's reward: above it is success


@pytest.fixture(scope="module", params=["dense", "sparse", "dynamics"])
def trained(request, tmp_path_factory, make_config, short_family, small_dataset):
    """A run of each kind, its trained algorithm, its particles and its policy on a robot."""
    kind, data = type(short_family), small_dataset

    class Family(kind):
        sparse_reward = request.param == "sparse"
        dynamics_vary = request.param == "dynamics"

    def labelled(tasks):
        return [
            [replace(e, rewards=np.where(e.rewards > LINE, 0.0, -1.0)) for e in task]
            for task in tasks
        ]

    if request.param == "sparse":
        data = Dataset(
            data.id, data.train_tasks, data.test_tasks, labelled(data.train), labelled(data.test)
        )
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "checkpoints").mkdir()
    settings = ("offline.updates=150", "algorithm.learning_rate=0.01", "algorithm.kl_weight=0.001")
    run = Run(make_config(*settings), folder, Family(), data)
    smac = train_offline(run)
    offline = offline_replay(run, smac)
    Exporter(run, smac).write(folder / "policy.bundle", phase="offline", updates=150)
    policy = Policy(read_bundle(folder / "policy.bundle"))
    return run, smac, by_likelihood(run, smac.agent, offline).particles, policy


def test_every_kind_of_bundle_runs_on_board(trained):
    run, *_ = trained
    assert_runs_on_board(read_bundle(run.folder / "policy.bundle"))


def follow(policy, episodes, *, refine=False):
    posterior, context = policy.prior(), []
    for episode in episodes:
        reached = episode.next_observations
        rows = zip(
            episode.observations[:-1], episode.actions, episode.rewards, reached, strict=True
        )
        for s, a, r, following in rows:
            context.append((s, a, float(r), following))
            posterior = policy.update(posterior, *context[-1])
        if refine:
            posterior = policy.refined(posterior, context)
    return posterior


@pytest.mark.parametrize("task", range(4))
def test_the_robot_weighs_particles_as_torch_does(trained, task):
    run, smac, particles, policy = trained
    episodes = [*run.dataset.train, *run.dataset.test][2 * task]
    found = follow(policy, episodes)
    context = context_of(smac, episodes)
    told = log_likelihood(smac.agent, particles, context)
    expected = torch.softmax(told.double(), dim=1)[0].numpy()
    z = particles.z.double().numpy()
    np.testing.assert_array_equal(found.z, z)
    np.testing.assert_allclose(found.weights, expected, atol=1e-5)
    np.testing.assert_allclose(found.mean, expected @ z, atol=1e-5)
    np.testing.assert_allclose(found.log_weights, told[0].numpy(), rtol=1e-4, atol=1e-4)
    assert found.effective < 900  # so that it is not equality of nothing known
    actor = ByLikelihood(smac.agent, particles).adapt([context])
    assert found.effective == pytest.approx(actor.effective_particles[0], rel=1e-4)
    assert found.explained == pytest.approx(actor.explained[0], rel=1e-4)
    known = familiarity(found, policy.manifest)
    assert known.unlike_below == particles.unlike_below
    assert known.unlike == actor.unlike[0]


@pytest.mark.parametrize("task", range(4))
def test_the_robot_refines_as_torch_does(trained, task):
    """After each of two episodes: the same places, but for parents on the edge between two; none
    where rewards are −1 or 0."""
    run, smac, particles, policy = trained
    episodes = [*run.dataset.train, *run.dataset.test][2 * task][:2]
    found = follow(policy, episodes, refine=True)
    first, second = ([context_of(smac, [one])] for one in episodes)
    actor = ByLikelihood(smac.agent, particles).adapt(first).after(second)
    z = actor.known.z[0].double().numpy()
    assert found.added == (0 if run.family.sparse_reward else PLACES)
    assert len(z) == len(found.z)
    same = np.isclose(found.z, z, atol=1e-5).all(axis=1)
    assert same[: found.own].all()
    assert same.mean() > 0.99
    told = actor.known.log_likelihoods[0].numpy()
    np.testing.assert_allclose(found.log_weights[same], told[same], rtol=1e-4, atol=1e-4)
    expected = actor.embeddings[0]
    np.testing.assert_allclose(found.mean, expected, atol=1e-5 if same.all() else 1e-2)
    alone = follow(policy, episodes)
    np.testing.assert_array_equal(found.log_weights[: found.own], alone.log_weights)
    assert found.log_weights.max() >= alone.log_weights.max()


def test_a_bundle_is_measured_exploring_by_its_rewards_where_its_robot_does(trained, monkeypatch):
    """z by z, of each copy's first episode: a draw, then the likeliest by the rewards so far."""
    run, _, _, policy = trained
    exploring = run.config.robot.exploration.model_copy(
        update={"follow_rewards": True, "action_noise": 0.0}
    )
    robot = run.config.robot.model_copy(update={"exploration": exploring})
    run = replace(run, config=run.config.model_copy(update={"robot": robot}))
    acted, act = [], Policy.act

    def watched(self, s, z, *noise):
        acted.append((s, act(self, s, z, *noise), z))
        return acted[-1][1]

    monkeypatch.setattr(Policy, "act", watched)
    measure_bundle(run, read_bundle(run.folder / "policy.bundle"), repeats=1)
    tasks, steps, switched = run.dataset.test_tasks, run.family.horizon, 0
    for copy, task in enumerate(tasks):
        known, episode = policy.prior(), acted[copy : steps * len(tasks) : len(tasks)]
        assert len(episode) == steps
        assert (known.z == episode[0][2]).all(axis=1).any()
        for (s, a, held), (reached, _, z) in pairwise(episode):
            known = policy.update(
                known, s, a, float(run.family.reward(s, a, reached, task)), reached
            )
            np.testing.assert_array_equal(z, known.likeliest)
            switched += not np.array_equal(z, held)
    assert switched > len(tasks)


def test_what_is_clipped_is_clipped_alike(trained):
    """Observations, actions and rewards up to absurdly far beyond the data."""
    run, smac, particles, policy = trained
    rng, episode = np.random.default_rng(0), run.dataset.test[0][0]
    off = 10.0 ** rng.uniform(-2, 30, size=episode.observations.shape)
    far = replace(
        episode,
        observations=episode.observations + rng.choice([-1.0, 0.0, 1.0], size=off.shape) * off,
        actions=3 * episode.actions,
        rewards=episode.rewards + 50 * rng.standard_normal(episode.steps),
    )
    told = log_likelihood(smac.agent, particles, context_of(smac, [far]))[0].numpy()
    found = follow(policy, [far]).log_weights
    np.testing.assert_allclose(found, told, rtol=1e-5, atol=1e-5 * np.abs(told).max())


def test_the_manifest_says_what_was_measured(trained):
    run, _, particles, policy = trained
    manifest = policy.manifest
    known = manifest.likelihood
    assert manifest.schema_version == 2
    assert len(known.particles) == 1_000
    assert known.reward_variance == particles.reward_variance
    assert known.temper == particles.temper
    if run.family.dynamics_vary:
        np.testing.assert_array_equal(known.change_variance, particles.change_variance)
    else:
        assert known.change_variance is None


@pytest.mark.parametrize("trained", ["dense", "dynamics"], indirect=True)
def test_the_same_weights_give_the_same_bundle_and_others_their_own_errors(trained, tmp_path):
    run, smac, _, policy = trained
    exporter = Exporter(run, smac, offline_replay(run, smac))
    torch.manual_seed(99)

    def write():
        return exporter.write(tmp_path / "x.bundle", phase="offline", updates=150)

    assert write().id == policy.bundle_id
    before = {name: value.clone() for name, value in smac.agent.decoder.state_dict().items()}
    try:
        with torch.no_grad():
            smac.agent.decoder.body[-1].bias += 1.0
        other = Policy(write())
        particles = by_likelihood(run, smac.agent, offline_replay(run, smac)).particles
        known = other.manifest.likelihood
        assert known.reward_variance == particles.reward_variance
        assert known.reward_variance > policy.manifest.likelihood.reward_variance + 0.5
        episodes = run.dataset.train[1]
        told = log_likelihood(smac.agent, particles, context_of(smac, episodes))[0].numpy()
        np.testing.assert_allclose(follow(other, episodes).log_weights, told, rtol=1e-4, atol=1e-4)
    finally:
        smac.agent.decoder.load_state_dict(before)
    assert write().id == policy.bundle_id


def test_a_run_that_infers_by_the_encoder_exports_no_particles(make_trained, tmp_path):
    run = make_trained("inference=encoder")
    bundle = Exporter(run, after_offline(run)).write(
        tmp_path / "x.bundle", phase="offline", updates=6
    )
    assert (bundle.manifest.schema_version, bundle.manifest.likelihood) == (1, None)
    assert sorted(bundle.graphs) == ["decoder.onnx", "encoder.onnx", "policy.onnx"]
    assert Policy(bundle).particles is None


def test_particles_that_are_no_numbers_are_not_exported(make_trained, tmp_path, monkeypatch):
    def diverged(_run, agent, _offline):
        z = torch.full((5, 3), float("nan"))
        return ByLikelihood(agent, Particles(z, 1.0, unlike_below=-1.0))

    monkeypatch.setattr(bundles, "by_likelihood", diverged)
    run = make_trained()
    with pytest.raises(TrainingDiverged, match="the particles, or what the decoder is off by"):
        Exporter(run, after_offline(run)).write(tmp_path / "x", phase="offline", updates=6)
    assert not (tmp_path / "x").exists()
