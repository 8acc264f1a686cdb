"""What each inference believes: of the same episodes, and within its own first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.trials import adapt_to, run_episodes
from fieldtune.train.evaluation.beliefs import (
    DRAWS,
    EPISODES,
    INFERENCES,
    Reader,
    after_episodes,
    first_steps,
    moments,
    within_first_episode,
)
from fieldtune.train.evaluation.task_map import TaskMap
from fieldtune.train.runs.particles import offline_particles
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.untrained import untrained

TASKS = np.array([[0.5], [2.5]])


@pytest.fixture(scope="module")
def reader(small_dataset, short_family, make_config, tmp_path_factory):
    run = Run(make_config(), tmp_path_factory.mktemp("run"), short_family, small_dataset)
    torch.manual_seed(0)
    algorithm = untrained(run)
    offline = offline_replay(run, algorithm)
    fields, tasks = short_family.task_fields, small_dataset.train_tasks
    place = TaskMap.of(algorithm.agent, offline, tasks, fields, 0)
    particles = offline_particles(algorithm.agent, offline, short_family.horizon, 0)
    return Reader(algorithm.agent, ByLikelihood(algorithm.agent, particles), place, 0)


@pytest.fixture
def simulator(short_family):
    made = short_family.simulator(len(TASKS))
    yield made
    made.close()


def all_of(believed):
    return [belief for rows in believed.by.values() for row in rows for belief in row]


def test_beliefs_are_shares_of_places_that_were_trained_on(reader, short_family, simulator):
    tasks = reader._place.tasks
    for believed in (
        after_episodes(reader, short_family, simulator, TASKS, Acting(), 0),
        within_first_episode(reader, short_family, simulator, TASKS, 0, steps=(0, 3, 20)),
    ):
        assert set(believed.by) == set(INFERENCES)
        for belief in all_of(believed):
            assert belief.weights.sum() == pytest.approx(1.0)
            assert (belief.weights >= 0).all()
            assert tasks.min() <= belief.points.min() <= belief.points.max() <= tasks.max()
        for row in believed.by["encoder"]:
            assert all(belief.unlike is None and len(belief.points) == DRAWS for belief in row)


def test_before_any_episode_every_particle_is_as_likely_and_nothing_is_unlike(reader):
    belief = reader.read("likelihood", [])
    assert belief.weights == pytest.approx(1.0 / len(belief.weights))
    assert belief.unlike is False


def test_both_read_the_same_episodes(reader, short_family, simulator, monkeypatch):
    contexts = {name: [] for name in INFERENCES}
    read = Reader.read

    def kept(self, name, context):
        contexts[name].append(context)
        return read(self, name, context)

    monkeypatch.setattr(Reader, "read", kept)
    after_episodes(reader, short_family, simulator, TASKS, Acting(), 0)
    counts = [k for k in EPISODES for _ in TASKS]
    assert [len(context) for context in contexts["encoder"]] == counts
    for one, other in zip(*contexts.values(), strict=True):
        assert len(one) == len(other)
        assert all(map(np.array_equal, *([e.rewards for e in c] for c in (one, other))))


def test_what_is_believed_of_an_episode_is_what_its_actor_knew(reader, short_family, simulator):
    actor = adapt_to(reader.likelihood, [[] for _ in TASKS])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seeds = np.arange(len(TASKS))
        episodes = run_episodes(actor, short_family, simulator, seeds, TASKS, actor.heed)
    z = reader.likelihood.particles.z.double().numpy()
    for known, episode in zip(actor.embeddings, episodes, strict=True):
        assert reader.read("likelihood", [episode]).weights @ z == pytest.approx(known, abs=1e-5)


def test_a_context_that_no_particle_explains_is_unlike(reader, random_episodes):
    episode = random_episodes[0][0]
    strict = replace(reader.likelihood.particles, unlike_below=np.inf)
    judge = Reader(reader.agent, ByLikelihood(reader.agent, strict), reader._place, 0)
    assert judge.read("likelihood", [episode]).unlike
    assert not judge.read("likelihood", []).unlike
    lax = replace(strict, unlike_below=-np.inf)
    judge = Reader(reader.agent, ByLikelihood(reader.agent, lax), reader._place, 0)
    assert judge.read("likelihood", [episode]).unlike is False


def test_the_return_is_of_the_steps_so_far(reader, short_family, simulator):
    steps = (0, 1, 7, 20)
    believed = within_first_episode(
        reader, short_family, simulator, TASKS, 0, steps=steps, inferences=["likelihood"]
    )
    returns = np.array([[b.episode_return for b in row] for row in believed.by["likelihood"]])
    assert (returns[0] == 0).all()
    assert (np.diff(returns, axis=0) < 0).all()  # this family's rewards are all negative
    assert believed.moments == steps


def test_the_same_seed_gives_the_same_beliefs_and_leaves_the_random_state(
    reader, short_family, simulator
):
    before = torch.get_rng_state()
    one, two = (
        after_episodes(reader, short_family, simulator, TASKS, Acting(), 3) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(all_of(one), all_of(two), strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.weights, b.weights)


def test_the_beginning_of_an_episode_is_cut_in_every_part():
    rng = np.random.default_rng(0)
    whole = LabelledEpisode(
        0,
        rng.normal(size=(6, 2)),
        rng.normal(size=(5, 1)),
        rng.normal(size=5),
        terminated=True,
        signals=rng.normal(size=(5, 3)),
    )
    cut = first_steps(whole, 2)
    assert (cut.steps, len(cut.observations), len(cut.rewards), len(cut.signals)) == (2, 3, 2, 2)
    assert not cut.terminated
    np.testing.assert_array_equal(cut.next_observations, whole.next_observations[:2])
    assert first_steps(whole, 5) is whole
    assert first_steps(whole, 9) is whole


def test_moments_are_shares_of_the_episode(short_family):
    assert moments(short_family) == (0, 2, 5, 20)
