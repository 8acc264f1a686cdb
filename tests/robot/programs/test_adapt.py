"""Adaptation: what the true rewards say decides how the robot acts afterwards."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from fieldtune.robot.config import ExplorationConfig, RewardsConfig, ZHold
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.episodes.episode import EndReason, Mode
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws, ZSource
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.policy.refinement import PLACES
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.rewards.driver import DriverRewards
from fieldtune.robot.rewards.lookup import reward_stream
from fieldtune.robot.rewards.streams import NoRewards
from fieldtune.robot.safety.latch import latch
from tests.robot.conftest import PARTICLES


@pytest.fixture
def adaptation(config, mass, point_bundle):
    def make(**options) -> Adaptation:
        return Adaptation(config, mass, DriverRewards(mass), bundle=point_bundle(), **options)

    return make


def test_context_with_true_rewards_then_one_z_and_the_mean_action(adaptation, config, mass):
    run = adaptation(context_episodes=2, episodes=2)
    results = list(run.run())
    assert [result.acting for result in results] == [False, False, True, True]
    with Journal.read(config.journal) as journal:
        recorded = [journal.episode(entry.number) for entry in journal.entries()]
    assert {episode.header.mode for episode in recorded} == {Mode.ADAPT}
    assert {episode.header.trial for episode in recorded} == {1}
    context = GaussianPosterior.prior(2)
    for episode in recorded[:2]:
        reached = [step.observation for step in episode.steps[1:]]
        for observation in [*reached, episode.footer.final_observation]:
            reward = mass.reward(None, None, observation)
            context = context.update(np.array([reward, 0.0]), np.full(2, math.log1p(math.e)))
    np.testing.assert_allclose(run.posterior.mean, context.mean, rtol=1e-5)
    np.testing.assert_allclose(run.posterior.variance, context.variance, rtol=1e-5)
    for episode in recorded[2:]:
        z = run.posterior.sample(Draws(0, episode.header.number).z)
        for step in episode.steps:
            assert step.z == z.tolist()
            np.testing.assert_allclose(step.requested, 2 * np.tanh(z[:1]), rtol=1e-6)


def test_the_return_is_the_sum_of_rewards(adaptation, config, mass):
    (result,) = adaptation(context_episodes=0, episodes=1).run()
    with Journal.read(config.journal) as journal:
        episode = journal.episode(1)
    reached = [step.observation for step in episode.steps[1:]] + [episode.footer.final_observation]
    total = sum(mass.reward(None, None, observation) for observation in reached)
    assert result.total_reward == pytest.approx(total)
    assert result.steps == len(episode.steps) == 5


def test_without_context_it_acts_from_the_prior(adaptation):
    run = adaptation(context_episodes=0)
    list(run.run())
    assert run.posterior.mean.tolist() == [0.0, 0.0]


def test_context_episodes_hold_z_as_configured_and_acting_ones_for_the_episode(
    config, mass, point_bundle
):
    config = config.model_copy(update={"exploration": ExplorationConfig(z_hold=ZHold.STEP)})
    list(Adaptation(config, mass, DriverRewards(mass), bundle=point_bundle()).run())
    with Journal.read(config.journal) as journal:
        recorded = [journal.episode(entry.number) for entry in journal.entries()]
    distinct = [len({tuple(step.z) for step in episode.steps}) for episode in recorded]
    assert distinct == [5, 5, 1]


def test_a_fault_ends_it_and_latches(adaptation, config, mass):
    def fail(robot):
        if len(robot.commands) == 7:
            raise DriverFault("the cable is out")

    mass.trouble = fail
    run = adaptation()
    results = list(run.run())
    assert [result.reason for result in results] == [EndReason.HORIZON, EndReason.FAULT]
    assert run.robot.fault == "the cable is out"
    assert config.latch.exists()


def test_a_stop_ends_it(adaptation, mass):
    run = adaptation()
    stop = run.robot.request_stop
    mass.trouble = lambda robot: stop("SIGINT") if len(robot.commands) == 2 else None
    (result,) = run.run()
    assert (result.reason, result.steps) == (EndReason.STOPPED, 3)


def test_a_stop_while_rewards_are_waited_for_is_a_fault_and_no_lack_of_them(
    config, mass, point_bundle
):
    class Waiting(DriverRewards):
        def collect(self, ended):
            latch(config.latch, "it hums")
            while not ended():
                time.sleep(0.01)
            return {}

    run = Adaptation(config, mass, Waiting(mass), bundle=point_bundle())
    (result,) = run.run()
    assert result.rewarded == 0
    assert run.robot.fault == "it hums"


def test_a_driver_without_rewards_is_told_so():
    class Silent:
        robot = "panda"

    with pytest.raises(NoRewards, match="'panda' measures no rewards"):
        reward_stream(RewardsConfig(), Silent())


class Sparse:
    """Rewards the steps in `worth` of every episode; a person who looks up now and then."""

    source, error = "keys", ""

    def __init__(self, worth):
        self.worth, self.open_now = worth, False

    def open(self):
        self.open_now = True

    def begin(self, number): ...

    def follow(self, observation, action, next_observation): ...

    def collect(self, stop):  # noqa: ARG002
        return self.worth

    def close(self):
        self.open_now = False


def test_only_rewarded_transitions_are_the_context(config, mass, point_bundle):
    run = Adaptation(config, mass, Sparse({1: 0.5, 4: -2.0}), bundle=point_bundle())
    assert [episode.rewarded for episode in run.run()] == [2, 2, 2]
    factors, context = [0.5, -2.0] * 2, GaussianPosterior.prior(2)
    for reward in factors:  # the point mass's encoder reads the reward alone
        context = context.update(np.array([reward, 0.0]), np.full(2, math.log1p(math.e)))
    np.testing.assert_allclose(run.posterior.mean, context.mean, rtol=1e-5)
    np.testing.assert_allclose(run.posterior.variance, context.variance, rtol=1e-5)


def test_rewards_are_in_the_journal_by_step_and_acting_ones_too(config, mass, point_bundle):
    list(Adaptation(config, mass, Sparse({1: 0.5, 4: -2.0}), bundle=point_bundle()).run())
    with Journal.read(config.journal) as journal:
        assert [journal.rewards(number) for number in (1, 2, 3)] == [{1: 0.5, 4: -2.0}] * 3


def test_without_a_single_reward_it_does_not_pretend_to_know_the_task(config, mass, point_bundle):
    saved, silent = [], Sparse({})
    run = Adaptation(config, mass, silent, bundle=point_bundle(), save=saved.append)
    with pytest.raises(NoRewards, match="no reward came in 2 episodes"):
        list(run.run())
    assert len(mass.commands) == 10
    assert saved == []
    assert not silent.open_now


def test_a_task_is_kept_before_it_is_acted_on(config, mass, point_bundle):
    saved = []

    def fail(robot):
        if len(robot.commands) == 10:
            raise DriverFault("the cable is out")

    mass.trouble = fail
    run = Adaptation(config, mass, DriverRewards(mass), bundle=point_bundle(), save=saved.append)
    list(run.run())
    assert run.robot.fault == "the cable is out"
    assert [task.transitions for task in saved] == [10]


def test_a_broken_context_is_not_kept(config, mass, point_bundle):
    saved = []
    run = Adaptation(config, mass, DriverRewards(mass), bundle=point_bundle(), save=saved.append)
    stop = run.robot.request_stop
    mass.trouble = lambda robot: stop("SIGINT") if len(robot.commands) == 7 else None
    list(run.run())
    assert saved == []


def z_of(config, number):
    with Journal.read(config.journal) as journal:
        return {tuple(step.z) for step in journal.episode(number).steps}


def test_with_particles_context_is_posterior_sampling_and_the_task_the_likeliest(
    config, mass, point_bundle
):
    """Two rewards of −40 say with certainty which particle."""
    config = config.model_copy(update={"exploration": ExplorationConfig(z_hold=ZHold.STEP)})
    rewards = Sparse({0: -40.0, 1: -40.0})
    run = Adaptation(
        config,
        mass,
        rewards,
        bundle=point_bundle(particles=PARTICLES),
        context_episodes=3,
        episodes=2,
    )
    numbers = [episode.number for episode in run.run()]
    prior = ParticlePosterior.prior(np.array(PARTICLES))
    assert z_of(config, 1) == {tuple(prior.sample(Draws(0, 1).z))}  # held, whatever z_hold says
    for number in numbers[1:]:  # or as likely a place: what z[1] is makes no difference
        ((first, _),) = z_of(config, number)
        assert first == PARTICLES[2][0]
    posterior = run.posterior
    expected = -((posterior.z[:, 0] + 40.0) ** 2) / 2 * 6
    np.testing.assert_allclose(posterior.log_weights, expected, rtol=1e-6)
    np.testing.assert_array_equal(posterior.z[:4], np.array(PARTICLES))
    assert (posterior.transitions, posterior.own, posterior.added) == (6, 4, PLACES)
    with Journal.read(config.journal) as journal:
        acted = journal.episode(numbers[-1]).steps
    for step in acted:
        np.testing.assert_allclose(step.requested, 2 * np.tanh([-2.0]), rtol=1e-6)


def test_a_context_episode_follows_several_particles_where_z_is_held_for_so_many_steps(
    config, mass, point_bundle
):
    config = config.model_copy(update={"exploration": ExplorationConfig(z_hold=2)})
    bundle = point_bundle(particles=PARTICLES)
    rewards = Sparse({0: -40.0, 1: -40.0})
    run = Adaptation(config, mass, rewards, bundle=bundle, context_episodes=1, episodes=1)
    context, acting = [episode.number for episode in run.run()]
    with Journal.read(config.journal) as journal:
        z = [tuple(step.z) for step in journal.episode(context).steps]
    source = ZSource(ParticlePosterior.prior(np.array(PARTICLES)), 2, Draws(0, context).z)
    assert z == [tuple(source.next()) for _ in z]
    assert len(set(z)) > 1
    assert {first for first, _ in z_of(config, acting)} == {PARTICLES[2][0]}


def test_between_context_episodes_what_is_not_said_stays_open(config, mass, point_bundle):
    """Without rewards every episode draws from all particles."""
    path = point_bundle(particles=PARTICLES)
    run = Adaptation(config, mass, Sparse({}), bundle=path, context_episodes=12, episodes=0)
    with pytest.raises(NoRewards):
        list(run.run())
    assert len(set.union(*(z_of(config, number) for number in range(1, 13)))) > 2


@pytest.mark.parametrize(("below", "unlike"), [(-0.5 * 40.0**2, False), (-10.0, True)])
def test_a_task_unlike_any_trained_on_is_noticed(config, mass, point_bundle, caplog, below, unlike):
    saved = []
    run = Adaptation(
        config,
        mass,
        Sparse({2: -40.0}),
        bundle=point_bundle(particles=PARTICLES, unlike_below=below),
        save=saved.append,
    )
    list(run.run())
    assert run.familiarity.unlike is saved[0].familiarity.unlike is unlike
    assert run.familiarity.explained == pytest.approx(-(38.0**2) / 2)
    assert run.familiarity.effective == pytest.approx(1.0)
    assert ("unlike any that the bundle was trained on" in caplog.text) is unlike


def test_what_cannot_be_refined_is_kept_as_it_is(config, mass, point_bundle, monkeypatch, caplog):
    def spoilt(self, *given):
        found = weigh(self, *given)
        return found * np.nan if len(found) == PLACES else found

    weigh = Policy.log_likelihood
    monkeypatch.setattr(Policy, "log_likelihood", spoilt)
    saved = []
    bundle = point_bundle(particles=PARTICLES)
    run = Adaptation(config, mass, Sparse({2: 1.0}), bundle=bundle, save=saved.append)
    assert [episode.acting for episode in run.run()] == [False, False, True]
    assert (run.posterior.transitions, run.posterior.added) == (2, 0)
    assert (len(saved), saved[0].refined) == (1, [])
    assert "the posterior is not refined" in caplog.text


def test_an_encoders_bundle_says_nothing_of_likeness(adaptation):
    run = adaptation()
    list(run.run())
    assert run.familiarity is None
