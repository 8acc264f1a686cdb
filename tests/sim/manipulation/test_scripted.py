"""Scripted data of the families on the table: half successful, and more than each task's own."""

import numpy as np
import pytest

from fieldtune.sim.family import bounds
from fieldtune.sim.manipulation.family import ManipulationFamily
from fieldtune.sim.manipulation.scripted import (
    STYLES,
    collect_scripted,
    film,
    plan,
    scripted_episodes,
    scripted_return,
)
from fieldtune.sim.registry import family
from fieldtune.sim.scripted import scripted
from fieldtune.sim.success import success_rate

NAMES = ("drawer-door", "multi", "pick-place", "push")


def made(name: str) -> ManipulationFamily:
    one = family(name)
    assert isinstance(one, ManipulationFamily)
    return one


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_follows_from_its_generator(name: str) -> None:
    one = made(name)
    task = one.split().train[0]
    for style in STYLES:
        first = plan(one, task, style, np.random.default_rng(3))
        again = plan(one, task, style, np.random.default_rng(3))
        np.testing.assert_array_equal(first.noise, again.noise)
        assert first.seed == again.seed
        assert (first.meant is None) == (style == "wander")
        if style == "own":
            np.testing.assert_array_equal(first.meant, task)
        if style == "other":
            assert not np.array_equal(first.meant, task)


def test_the_noise_of_actions_is_nearly_white() -> None:
    """Where an action follows from the one before, a cloned policy copies its own momentum."""
    one = made("push")
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = plan(one, one.split().train[0], "own", rng).noise
        after, before = noise[1:].ravel(), noise[:-1].ravel()
        assert np.corrcoef(after, before)[0, 1] < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_script_without_noise_does_nearly_every_task(name: str) -> None:
    one = made(name)
    episodes = scripted_episodes(one, one.split().test, np.arange(1))
    rate = success_rate(one, episodes)
    assert rate is not None
    assert rate >= 0.8
    assert scripted_return(one, one.split().test[:2], np.arange(1)) > -one.horizon


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_about_half_of_the_data_is_successful_and_labelled_for_its_own_task(name: str) -> None:
    one = made(name)
    tasks = one.split().train[:4]
    jobs = [(task, episode) for task in range(4) for episode in range(8)]
    episodes = collect_scripted(one, 0, tasks, jobs)
    assert [episode.task_index for episode in episodes] == [task for task, _ in jobs]
    low, high = bounds(one.action_fields)
    for episode in episodes:
        assert ((episode.actions >= low) & (episode.actions <= high)).all()
        done = one.success(episode.observations[1:], tasks[episode.task_index])
        np.testing.assert_array_equal(episode.rewards, np.where(done, 0.0, -1.0))
    rate = success_rate(one, episodes)
    assert rate is not None
    assert 0.3 <= rate <= 0.7


@pytest.mark.slow
def test_an_episode_depends_neither_on_how_many_there_are_nor_on_threads() -> None:
    one = made("push")
    tasks = one.split().train[:2]
    many = collect_scripted(one, 7, tasks, [(0, 0), (0, 1), (1, 0), (1, 1)], threads=2)
    few = collect_scripted(one, 7, tasks, [(1, 1), (0, 0)])
    np.testing.assert_array_equal(few[0].observations, many[3].observations)
    np.testing.assert_array_equal(few[1].observations, many[0].observations)
    assert not np.array_equal(many[0].actions, many[1].actions)


@pytest.mark.slow
def test_a_film_ends_where_the_datas_episode_did() -> None:
    """robosuite's own loop repeats the batch's episode: block and goal in the same place."""
    one = made("push")
    tasks = one.split().train[:1]
    (pictures,) = film(one, 0, tasks, [(0, 0)], frames=3, size=48)
    assert [picture.shape for picture in pictures] == [(48, 48, 3)] * 3
    assert (pictures[0] != pictures[-1]).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_knows_the_script(name: str) -> None:
    script = scripted(family(name))
    assert script is not None
    assert script.POLICY
    assert scripted(family("cheetah-vel")) is None
