"""Beliefs from a journal are those that the robot had: both go by the same functions."""

from __future__ import annotations

import numpy as np
import pytest

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.config import ExplorationConfig
from fieldtune.robot.episodes.episode import Mode
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Exploration
from fieldtune.robot.policy.labelling import Labeller
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.rewards.driver import DriverRewards
from fieldtune.robot.view.beliefs import Beliefs
from fieldtune.robot.view.news import News, Newsreader
from tests.robot.conftest import PARTICLES


def heard(beliefs, journal):
    return [one for news in Newsreader(journal).look() for one in beliefs.hear(news)]


@pytest.mark.parametrize(
    "bundle",
    [{}, {"next_observation": True}, {"particles": PARTICLES}, {"sparse_reward": True}],
    ids=["encoder", "next observation", "particles", "sparse"],
)
def test_an_exploring_robots_posterior_is_found_again(config, mass, point_bundle, bundle):
    path = point_bundle(**bundle)
    Daemon(config, mass, episodes=3).run()
    policy = Policy(read_bundle(path))
    exploration = Exploration(
        ExplorationConfig(), config.seed, policy.task_embeddings, policy.prior()
    )
    with Journal.read(config.journal) as journal:
        for number in (1, 2, 3):
            episode = journal.episode(number)
            labeller = Labeller(policy, exploration, exploration.plan(number))
            seen = [step.observation for step in episode.steps] + [episode.footer.final_observation]
            for step in episode.steps:
                labeller.follow(
                    *map(np.array, (seen[step.index], step.applied, seen[step.index + 1]))
                )
            labeller.label()
            exploration.finish()
    beliefs = Beliefs(policy)
    found = heard(beliefs, config.journal)
    assert [one.step for one in found] == [0, 1, 2, 3, 4] * 2  # the third follows its context
    assert all(one.label in (0.0, -1.0) for one in found) == ("sparse_reward" in bundle)
    np.testing.assert_array_equal(beliefs.posterior.mean, exploration.posterior.mean)
    np.testing.assert_array_equal(beliefs.posterior.variance, exploration.posterior.variance)


def test_an_adapting_robots_posterior_is_found_again(config, mass, point_bundle):
    path = point_bundle(particles=PARTICLES)
    run = Adaptation(config, mass, DriverRewards(mass), bundle=path, context_episodes=2)
    list(run.run())
    beliefs = Beliefs(Policy(read_bundle(path)))
    for news in Newsreader(config.journal).look():
        assert news.entry.header.mode is Mode.ADAPT
        if news.entry.header.number == 3:  # the acting one: the posterior is that before it
            break
        assert len(beliefs.hear(news)) == 5
    beliefs.hear(news)
    np.testing.assert_array_equal(beliefs.base.z, run.posterior.z)
    np.testing.assert_array_equal(beliefs.base.log_weights, run.posterior.log_weights)


def test_an_episode_without_rewards_changes_neither_belief(config, mass, point_bundle):
    """The robot does not look between its particles again for nothing new, nor does the view."""
    path = point_bundle(particles=PARTICLES)

    class Once(DriverRewards):
        def collect(self, stop):
            return super().collect(stop) if self.first else {}

        def begin(self, number):
            self.first = number == 1
            super().begin(number)

    run = Adaptation(config, mass, Once(mass), bundle=path, context_episodes=2)
    list(run.run())
    beliefs = Beliefs(Policy(read_bundle(path)))
    for news in Newsreader(config.journal).look():
        beliefs.hear(news)
    assert run.posterior.transitions == 5
    np.testing.assert_array_equal(beliefs.base.z, run.posterior.z)


def test_steps_and_rewards_may_come_in_any_pieces(config, mass, point_bundle):
    """What a live robot's news are: no step is heard before what it led to, a changed reward
    counts in the place of the one before."""
    path = point_bundle()
    list(Adaptation(config, mass, DriverRewards(mass), bundle=path, context_episodes=1).run())
    whole, (news, *_) = Beliefs(Policy(read_bundle(path))), Newsreader(config.journal).look()
    whole.hear(news)
    pieces = Beliefs(Policy(read_bundle(path)))
    entry, steps, rewards = news.entry, news.steps, news.rewards
    assert pieces.hear(News(entry, True, steps[:2], None, False)) == []
    wrong = pieces.hear(News(entry, False, [], {0: 7.0, 1: 8.0}, False))
    assert [one.step for one in wrong] == [0]
    pieces.hear(News(entry, False, steps[2:], rewards, True))
    np.testing.assert_array_equal(pieces.posterior.mean, whole.posterior.mean)
