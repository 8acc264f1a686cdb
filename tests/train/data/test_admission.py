"""The gate: nothing comes through that a network cannot be taught with, whoever brings it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.sim.family import TaskSplit, bounds, width
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.data.admission import (
    all_alike,
    ended_early,
    is_spread,
    problem,
    problem_of_all,
)
from fieldtune.train.data.plausible import among, beyond

CHEETAH, REACH, PUSH, HOPPER = map(make_family, ("cheetah-vel", "reach", "push", "hopper-params"))
TASKS = TaskSplit(np.array([[0.5], [1.0]]), np.array([[2.0]]))


def sound(family=CHEETAH, steps=12, seed=0, **changes):
    rng = np.random.default_rng(seed)
    low, high = bounds(family.action_fields)
    observations = 0.5 * rng.normal(size=(steps + 1, width(family.observation_fields)))
    rewards = rng.normal(size=steps)
    return LabelledEpisode(
        task_index=0,
        observations=observations,
        actions=rng.uniform(low, high, (steps, len(low))),
        rewards=np.where(rewards > 1, 0.0, -1.0) if family.sparse_reward else rewards,
        terminated=False,
        signals=rng.normal(size=(steps, width(family.signal_fields)))
        if family.signal_fields
        else None,
        **changes,
    )


def put(name, step, index, value):
    def change(episode):
        array = getattr(episode, name).copy()
        array[(step, index) if array.ndim == 2 else step] = value
        return replace(episode, **{name: array})

    return change


@pytest.mark.parametrize("family", [CHEETAH, REACH, PUSH, HOPPER], ids=lambda family: family.name)
def test_sound_episodes_come_through(family):
    assert problem(sound(family), family) == ""
    data = [sound(family, seed=seed) for seed in range(4)]
    for where in (among(family, data), beyond(family, data)):
        assert [problem(episode, family, where) for episode in data] == [""] * 4


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        (CHEETAH, lambda _: sound(steps=201), "it has 201 steps, cheetah-vel ends after 200"),
        (
            CHEETAH,
            lambda e: replace(e, actions=e.actions[:0], rewards=e.rewards[:0]),
            "it has no complete step",
        ),
        (
            CHEETAH,
            lambda e: replace(e, observations=e.observations[1:]),
            "observations are [12, 20], expected [13, 20]",
        ),
        (
            CHEETAH,
            lambda e: replace(e, following=e.observations),
            "next observations are [13, 20], expected [12, 20]",
        ),
        (
            CHEETAH,
            put("observations", 12, 9, np.nan),
            "observation 'root_velocity'[1] at step 12 is nan m/s, expected a finite number: check "
            "that sensor and its unit, or leave the episode out",
        ),
        (
            CHEETAH,
            put("observations", 3, 0, 1e30),
            "observation 'root_height' at step 3 is 1e+30 m, expected -1e+12 to 1e+12: check that "
            "sensor and its unit, or leave the episode out",
        ),
        (
            REACH,
            put("observations", 3, 2, 57.3),
            "observation 'joint_position'[2] at step 3 is 57.3 rad, expected -9.128 to 9.128: ",
        ),
        (
            CHEETAH,
            put("actions", 5, 1, 1.2),
            "action 'joint_torque'[1] at step 5 is 1.2 normalised, expected -1 to 1, the action's "
            "bounds: give them as the robot applied them, in the family's unit",
        ),
        (CHEETAH, put("actions", 5, 1, -np.inf), "is -inf normalised, expected a finite number"),
        (
            REACH,
            put("actions", 5, 1, 50.0),
            "'end_effector_displacement'[1] at step 5 is 50 m, expected -0.05 to 0.05, the "
            "action's bounds: are they 1000 times too large (mm)?",
        ),
        (CHEETAH, put("rewards", 2, 0, np.nan), "reward at step 2 is nan, expected a finite"),
        (CHEETAH, put("rewards", 2, 0, 1e13), "reward at step 2 is 1e+13, expected -1e+12 to"),
        (PUSH, put("rewards", 2, 0, 1.0), "reward at step 2 is 1, but push's are sparse: 0 in"),
        (
            HOPPER,
            put("signals", 2, 0, np.nan),
            "signal 'mean_forward_velocity' at step 2 is nan m/s, expected a finite number",
        ),
    ],
)
def test_the_first_thing_that_is_wrong_is_named_with_step_value_and_expectation(
    family, change, message
):
    assert message in problem(change(sound(family)), family)


def test_rounding_at_an_actions_bound_is_no_fault():
    low, high = bounds(REACH.action_fields)
    episode = sound(REACH)
    episode.actions[0], episode.actions[1] = np.float32(low), np.float32(high)
    assert problem(episode, REACH) == ""


def test_rewards_that_are_not_known_yet_are_not_looked_at():
    robots = replace(sound(), rewards=np.full(12, np.nan))
    assert "reward at step 0 is nan" in problem(robots, CHEETAH)
    assert problem(robots, CHEETAH, labelled=False) == ""


@given(
    st.sampled_from([CHEETAH, REACH, PUSH, HOPPER]),
    st.sampled_from(["observations", "actions", "rewards", "signals", "following"]),
    st.floats(),
    st.integers(0, 11),
    st.integers(0, 99),
)
def test_what_comes_through_can_be_learned_from(family, name, value, step, index):
    """Any number, anywhere: refused by field, or finite and moderate in a network's units."""
    data = [sound(family, seed=seed) for seed in range(1, 4)]
    episode = sound(family)
    if name == "following":
        episode = replace(episode, following=episode.observations[1:])
    array = getattr(episode, name)
    if array is None:
        return
    episode = put(name, step, index % (array.shape[1] if array.ndim == 2 else 1), value)(episode)
    wrong = problem(episode, family, beyond(family, data))
    if wrong:
        assert f"at step {step} is " in wrong
        return
    known = [replace(each, task_index=0) for each in data]
    constants = Normalisation.of(
        np.concatenate([each.observations for each in known]),
        np.concatenate([each.rewards for each in known]),
        *bounds(family.action_fields),
    )
    for rows in (episode.observations, episode.next_observations):
        scaled = (rows - constants.observation_mean) / constants.observation_std
        assert (np.abs(scaled.astype(np.float32)) < 1e3).all()
    assert np.isfinite(episode.rewards).all()


shapes = st.lists(st.integers(0, 22), max_size=3).map(tuple)


@given(*[st.one_of(st.none(), shapes)] * 4)
def test_arrays_of_any_shape_are_refused_or_sound(observations, actions, rewards, following):
    episode = sound()
    for name, shape in (
        ("observations", observations),
        ("actions", actions),
        ("rewards", rewards),
        ("following", following),
    ):
        if shape is not None:
            episode = replace(episode, **{name: np.zeros(shape)})
    if actions == ():
        return  # no array of steps at all: `steps` has no meaning then
    if problem(episode, CHEETAH) == "":
        assert episode.observations.shape == (len(episode.actions) + 1, 20)


@pytest.mark.parametrize(
    ("terminations", "truncations", "message"),
    [
        ([0, 0, 1], [0, 0, 0], ""),
        ([0, 0, 0], [0, 0, 1], ""),
        ([1], [0], ""),
        ([0, 1, 0], [0, 0, 1], "terminations mark an end at step 1 of 3"),
        ([0, 0, 1], [1, 0, 0], "truncations mark an end at step 0 of 3"),
    ],
)
def test_only_the_last_step_may_end_an_episode(terminations, truncations, message):
    assert ended_early(np.array(terminations), np.array(truncations)).startswith(message)
    assert bool(message) == bool(ended_early(np.array(terminations), np.array(truncations)))


@pytest.mark.parametrize(
    ("rewards", "spread"),
    [
        ([0.0, 0.0], False),
        ([-1.0, -1.0], False),
        ([1e6, 1e6 + 0.5], False),  # one number to float32
        ([1e6, 1e6 + 10], True),
        ([1e-9, 2e-9], True),  # in a unit that is large
        ([-1.0, 0.0], True),
    ],
)
def test_rewards_that_are_all_alike_are_told_whatever_their_unit(rewards, spread):
    assert is_spread(np.array(rewards)) == spread
    assert bool(all_alike([np.array(rewards)])) != spread


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_a_rewards_unit_is_its_spread_and_one_where_there_is_none(size):
    """A reward beside constant ones was seen 10^9 spreads away, and z with it."""
    observations, one = np.zeros((4, 2)), np.ones(1)
    spread = Normalisation.of(observations, size * np.array([0.0, 1.0, 0.0, 1.0]), -one, one)
    assert spread.reward_std == pytest.approx(size / 2)
    alike = Normalisation.of(observations, np.full(4, size), -one, one)
    assert alike.reward_std == 1.0


def test_a_dataset_is_judged_by_its_tasks_its_episodes_and_its_rewards():
    data = {"train": [sound(), sound(seed=1)], "test": [sound(seed=2)]}
    assert problem_of_all(CHEETAH, TASKS, data) == ""
    same = TaskSplit(TASKS.train, TASKS.train[1:])
    assert "training task 1 and held-out task 0 are the same" in problem_of_all(CHEETAH, same, data)
    wide = TaskSplit(np.zeros((2, 3)), TASKS.test)
    assert problem_of_all(CHEETAH, wide, data) == (
        "training tasks are [2, 3], expected [tasks, 1]: velocity (1); of another version of the "
        "family? then collect again"
    )
    nan = TaskSplit(TASKS.train, TASKS.test * np.nan)
    assert "held-out tasks have parameters that" in problem_of_all(CHEETAH, nan, data)
    spoilt = {**data, "train": [data["train"][0], put("observations", 4, 0, 1e7)(sound(seed=1))]}
    wrong = problem_of_all(CHEETAH, TASKS, spoilt, {"train": ["slow", "x"], "test": ["y"]})
    assert wrong.startswith("train task 'slow', episode 1: observation 'root_height' at step 4")
    alike = {name: [replace(e, rewards=0 * e.rewards) for e in part] for name, part in data.items()}
    assert "every reward of the training tasks is 0" in problem_of_all(CHEETAH, TASKS, alike)


@pytest.mark.parametrize("name", ["cheetah-vel", "ant-dir", "walker-params", "reach"])
def test_a_familys_own_simulator_makes_data_that_come_through(name):
    family, rng = make_family(name), np.random.default_rng(0)
    low, high = bounds(family.action_fields)
    tasks = family.split().train[:4]
    simulator = family.simulator(4)
    try:
        data = rollout(
            simulator,
            family,
            lambda observations: rng.uniform(low, high, (len(observations), len(low))),
            np.arange(4),
            tasks,
        )
    finally:
        simulator.close()
    assert problem_of_all(family, family.split(), {"train": data, "test": []}) == ""
