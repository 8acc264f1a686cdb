"""Adaptation within the episode: z follows each reward, and nothing of it holds up the robot."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.config import AdaptationConfig, ExplorationConfig, LimitsConfig
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws, ZSource
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.policy.refinement import PLACES
from fieldtune.robot.policy.saved_tasks import recompute
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.rewards.driver import DriverRewards
from fieldtune.robot.rewards.streams import NoRewards
from tests.robot.conftest import PARTICLES


@pytest.fixture
def adaptation(config, mass, point_bundle):
    def make(rewards=None, *, horizon=12, settings=config, **options) -> Adaptation:
        return Adaptation(
            settings,
            mass,
            rewards or DriverRewards(mass),
            bundle=point_bundle(horizon=horizon),
            **({"continuous": True, "context_episodes": 0} | options),
        )

    return make


def episodes(config):
    with Journal.read(config.journal) as journal:
        return [
            (journal.episode(entry.number), journal.rewards(entry.number))
            for entry in journal.entries()
        ]


def after(rewards, known=None) -> GaussianPosterior:
    """The point mass's encoder reads the reward alone."""
    known = known or GaussianPosterior.prior(2)
    for reward in rewards:
        known = known.update(np.array([reward, 0.0]), np.full(2, math.log1p(math.e)))
    return known


def test_each_steps_z_is_of_the_rewards_before_it_and_in_the_journal(adaptation, config):
    run = adaptation(episodes=2)
    results = list(run.run())
    assert [result.acting for result in results] == [True, True]
    known = GaussianPosterior.prior(2)
    for episode, rewards in episodes(config):
        assert sorted(rewards) == list(range(12))
        for step in episode.steps:
            np.testing.assert_allclose(step.z, known.mean, rtol=1e-5, atol=1e-7)
            known = after([rewards[step.index]], known)
    np.testing.assert_allclose(run.posterior.mean, known.mean, rtol=1e-5)
    assert run.within.summary() == {
        "every": 1,
        "z": run.posterior.likeliest.tolist(),
        "lag_steps": {"median": 0.0, "max": 0},
        "trouble": "",
    }


def test_between_episodes_it_looks_between_its_particles(config, mass, point_bundle):
    """The summary, the task that is kept and the next episode go on from there."""
    saved = []
    run = Adaptation(
        config,
        mass,
        DriverRewards(mass),
        bundle=point_bundle(horizon=12, particles=PARTICLES),
        continuous=True,
        context_episodes=0,
        episodes=2,
        save=saved.append,
    )
    list(run.run())
    known = run.posterior
    assert (known.transitions, known.added) == (24, PLACES)
    assert run.within.summary()["z"] == known.likeliest.tolist()
    assert saved[-1].refined == known.z[known.own :].tolist()
    (_, second) = episodes(config)
    before = saved[0].over(np.array(PARTICLES)).likeliest
    assert second[0].steps[0].z == before.tolist()
    assert before.tolist() not in [list(z) for z in PARTICLES]


def test_z_is_chosen_anew_as_often_as_configured(adaptation, config):
    config = config.model_copy(update={"adaptation": AdaptationConfig(every=5)})
    list(adaptation(settings=config).run())
    ((episode, _),) = episodes(config)
    changed = [
        step.index
        for before, step in zip(episode.steps, episode.steps[1:], strict=False)
        if step.z != before.z
    ]
    assert changed == [5, 10]


class Alternating(DriverRewards):
    """Judges that make up their mind anew at each step, so that z jumps."""

    def follow(self, observation, action, next_observation):  # noqa: ARG002
        self._rewards = {self._transitions: 300.0 * (-1.0) ** self._transitions}
        self._transitions += 1


def test_a_jump_of_z_is_bounded_by_the_rate_of_actions(adaptation, config, mass):
    limits = LimitsConfig(action_rate={"force": 4.0})
    config = config.model_copy(update={"limits": limits})
    list(adaptation(Alternating(mass), settings=config).run())
    ((episode, _),) = episodes(config)
    requested = np.array([step.requested[0] for step in episode.steps])
    applied = np.array([step.applied[0] for step in episode.steps])
    assert np.abs(np.diff(requested)).max() > 3.9  # from one end of the range to the other
    assert np.abs(np.diff(applied, prepend=0.0)).max() <= 4.0 * mass.period_s + 1e-9
    assert applied.tolist() == mass.commands


def test_context_episodes_come_first_where_asked_for(adaptation, config):
    run = adaptation(context_episodes=1, episodes=1)
    assert [result.acting for result in run.run()] == [False, True]
    (_, context), (episode, _) = episodes(config)
    known = after(context.values())
    np.testing.assert_allclose(episode.steps[0].z, known.mean, rtol=1e-5)


def exploring(config, mass, point_bundle, rewards=None, **options):
    followed = ExplorationConfig(follow_rewards=True, z_hold=2)
    return Adaptation(
        config.model_copy(update={"exploration": followed}),
        mass,
        rewards or DriverRewards(mass),
        bundle=point_bundle(horizon=12, particles=PARTICLES),
        **({"context_episodes": 2, "episodes": 1} | options),
    )


def test_context_episodes_follow_their_rewards_where_the_robot_is_told_to(
    config, mass, point_bundle
):
    """They begin with a draw and act with noise, and the task is as if they had not followed."""
    saved = []
    run = exploring(config, mass, point_bundle, save=saved.append)
    assert [result.acting for result in run.run()] == [False, False, True]
    first, second, acting = episodes(config)
    known = ParticlePosterior.prior(np.array(PARTICLES))
    assert first[0].steps[0].z == known.sample(Draws(config.seed, 1).z).tolist()
    own = np.array(PARTICLES)[:, 0]
    log_weights = np.zeros(len(PARTICLES))
    for before, after in zip(first[0].steps, first[0].steps[1:], strict=False):
        log_weights -= (own - first[1][before.index]) ** 2 / 2
        assert after.z == list(PARTICLES[int(log_weights.argmax())])
    for episode, _ in (first, second):
        means = 2 * np.tanh([step.z[0] for step in episode.steps])
        assert not np.allclose([step.requested[0] for step in episode.steps], means)
    steps = acting[0].steps
    assert len({tuple(step.z) for step in steps}) == 1  # as without: no --continuous
    assert steps[0].z == run.posterior.likeliest.tolist()
    assert (run.posterior.transitions, run.posterior.added) == (24, PLACES)
    weights = run.posterior.log_weights[: len(PARTICLES)]
    rewards = np.array([*first[1].values(), *second[1].values()])
    expected = -((own[:, None] - rewards) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(weights - weights[0], expected - expected[0], rtol=1e-5)
    (task,) = saved
    policy = Policy(read_bundle(point_bundle(horizon=12, particles=PARTICLES)))
    with Journal.read(config.journal) as journal:
        again = recompute(task, journal, policy)
    assert (task.transitions, task.episodes) == (24, [1, 2])
    assert (again.log_weights, again.refined) == (task.log_weights, task.refined)


def test_context_episodes_follow_nothing_where_rewards_come_at_their_end(
    config, mass, point_bundle, caplog
):
    class AtTheEnd:
        """A plug-in's stream, without `so_far`."""

        error = ""
        source = "late"

        def __init__(self):
            inner = DriverRewards(mass)
            for name in ("open", "close", "begin", "follow", "collect"):
                setattr(self, name, getattr(inner, name))

    run = exploring(config, mass, point_bundle, AtTheEnd())
    list(run.run())
    assert run.within is None
    assert "rewards from 'late' come at the end of an episode only" in caplog.text
    (first, _), *_ = episodes(config)
    source = ZSource(ParticlePosterior.prior(np.array(PARTICLES)), 2, Draws(config.seed, 1).z)
    assert [step.z for step in first.steps] == [source.next().tolist() for _ in first.steps]


def test_a_context_that_could_not_be_followed_is_not_gone_on_with(
    config, mass, point_bundle, monkeypatch
):
    def fails(*_):
        raise RuntimeError("the graph is gone")

    run = exploring(config, mass, point_bundle)
    monkeypatch.setattr(Policy, "factor", fails)
    assert [result.acting for result in run.run()] == [False]
    assert "the graph is gone" in run.within.trouble


def test_the_task_is_kept_after_each_episode_and_again_the_same_from_the_journal(
    adaptation, config, point_bundle
):
    saved = []
    run = adaptation(episodes=3, save=saved.append)
    list(run.run())
    assert [task.transitions for task in saved] == [12, 24, 36]
    assert [task.episodes for task in saved] == [[1], [1, 2], [1, 2, 3]]
    assert saved[-1].posterior.mean.tolist() == run.posterior.mean.tolist()
    policy = Policy(read_bundle(point_bundle(horizon=12)))
    with Journal.read(config.journal) as journal:
        again = recompute(saved[-1], journal, policy)
    assert again.precision == saved[-1].precision
    assert again.precision_mean == saved[-1].precision_mean


def test_what_was_learned_until_a_person_stopped_it_is_kept(adaptation, mass):
    saved = []
    run = adaptation(episodes=2, save=saved.append)
    stop = run.robot.request_stop
    mass.trouble = lambda robot: stop("SIGINT") if len(robot.commands) == 7 else None
    (result,) = run.run()
    assert result.reason is EndReason.STOPPED
    assert [task.transitions for task in saved] == [8]


def test_an_episode_that_ends_in_a_fault_is_not_learned_from(adaptation, mass):
    saved = []

    def fail(robot):
        if len(robot.commands) == 15:
            raise DriverFault("the cable is out")

    mass.trouble = fail
    run = adaptation(episodes=3, save=saved.append)
    assert [result.reason for result in run.run()] == [EndReason.HORIZON, EndReason.FAULT]
    assert [task.transitions for task in saved] == [12]
    assert run.posterior.mean.tolist() == saved[0].posterior.mean.tolist()


class AtTheEnd:
    """A plug-in's rewards from before: none while the episode runs."""

    source, error = "judge", ""

    def open(self): ...

    def begin(self, number): ...

    def follow(self, observation, action, next_observation): ...

    def collect(self, stop):  # noqa: ARG002
        return {0: 1.0}

    def close(self): ...


def test_rewards_that_come_at_the_end_alone_are_refused_in_one_sentence(adaptation):
    with pytest.raises(NoRewards, match="'judge' come at the end of an episode only: adapt with"):
        adaptation(AtTheEnd())


class Silent(AtTheEnd):
    def so_far(self):
        return {}

    def collect(self, stop):  # noqa: ARG002
        return {}


def test_without_a_single_reward_it_does_not_go_on(adaptation, mass):
    run = adaptation(Silent(), episodes=3)
    with pytest.raises(NoRewards, match="no reward came in 1 episodes"):
        list(run.run())
    assert len(mass.commands) == 12


class Hanging(Alternating):
    """Asked while the episode runs, it does not answer."""

    def __init__(self, driver):
        super().__init__(driver)
        self.released = threading.Event()

    def so_far(self):
        self.released.wait()
        return super().so_far()


class Astray(DriverRewards):
    """Also says something of steps that are not there, and what is no number."""

    def collect(self, stop):
        return super().collect(stop) | {-1: 1.0, 40: 1.0, 3: math.nan, 4: 1e300}


@pytest.mark.parametrize("continuous", [True, False])
def test_rewards_of_no_step_and_no_numbers_are_left_out_and_told(
    adaptation, config, mass, continuous, caplog
):
    saved = []
    options = {} if continuous else {"context_episodes": 1, "episodes": 0}
    list(adaptation(Astray(mass), save=saved.append, continuous=continuous, **options).run())
    ((_, rewards),) = episodes(config)
    assert sorted(rewards) == [step for step in range(12) if step not in (3, 4)]
    assert saved[-1].transitions == 10
    assert "4 rewards of driver are left out: step 3 has nan, expected steps 0 to 11" in caplog.text


def test_an_emergency_stop_is_confirmed_while_the_last_word_is_awaited(adaptation, monkeypatch):
    run = adaptation()
    factor = Policy.factor

    def slow(*arguments):
        threading.Event().wait(0.5)
        return factor(*arguments)

    collect = DriverRewards.collect

    def trip(self, stop):
        monkeypatch.setattr(Policy, "factor", slow)
        run.robot.estop.trip("somebody pressed it")
        return {step: reward + 1.0 for step, reward in collect(self, stop).items()}

    monkeypatch.setattr(DriverRewards, "collect", trip)
    saved = []
    run._save = saved.append
    began = time.monotonic()
    list(run.run())
    assert time.monotonic() - began < 5.0  # all twelve would take six
    assert "somebody pressed it" in run.robot.fault
    assert not saved


@pytest.fixture
def real_time(config, mass):
    mass.time_scale = 1.0
    loosen = {"observation_age_s": "busy machine", "late_fraction": "busy machine"}
    limits = LimitsConfig(observation_age_s=60.0, late_fraction=1.0, loosen=loosen)
    return config.model_copy(update={"limits": limits})


def test_a_computer_that_cannot_keep_up_is_said(adaptation, real_time, monkeypatch, caplog):
    infer = Policy.factor
    monkeypatch.setattr(Policy, "factor", lambda *of: time.sleep(0.15) or infer(*of))
    run = adaptation(settings=real_time, horizon=40)
    (result,) = run.run()
    assert result.reason is EndReason.HORIZON
    assert not run.within.trouble
    assert "steps behind in the median: this computer infers more slowly" in caplog.text


def test_a_follower_that_hangs_makes_no_robot_late(
    adaptation, real_time, config, mass, monkeypatch
):
    """In real time: every period is kept, and the end tells why z stayed as it was."""
    monkeypatch.setattr("fieldtune.robot.policy.following.PATIENCE_S", 0.2)
    hanging, saved = Hanging(mass), []
    run = adaptation(hanging, settings=real_time, episodes=2, save=saved.append)
    (result,) = run.run()
    hanging.released.set()
    assert (result.reason, result.steps) == (EndReason.HORIZON, 12)
    assert not run.robot.fault
    assert saved == []
    ((episode, _),) = episodes(config)
    assert {tuple(step.z) for step in episode.steps} == {(0.0, 0.0)}
    told = run.within.summary()
    assert "has not answered for 0.2 s" in told["trouble"]
    assert told["lag_steps"] == {"median": 5.5, "max": 11}
