"""Which episodes are there twice by mistake, and which are shared on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.doubled import origin, twice
from fieldtune.train.data.subsample import thinned

CHEETAH, PUSH, HOPPER = map(make_family, ("cheetah-vel", "push", "hopper-params"))


def episode(seed=0, paid=0, steps=9):
    rng, rewards = np.random.default_rng(seed), np.random.default_rng(100 + paid)
    return LabelledEpisode(
        0, rng.normal(size=(steps + 1, 3)), rng.normal(size=(steps, 2)), rewards.normal(size=steps),
        False,
    )  # fmt: skip


def found(*placed, family=CHEETAH):
    return twice(
        family,
        (
            (f"{split} {task}, episode {number}", split, task, each)
            for number, (split, task, each) in enumerate(placed)
        ),
    )


def test_episodes_of_their_own_are_no_copies():
    assert found() == ""
    assert found(("train", 0, episode(1)), ("train", 0, episode(2)), ("test", 0, episode(3))) == ""


@pytest.mark.parametrize("family", [CHEETAH, PUSH, HOPPER], ids=lambda family: family.name)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_task_has_an_episode_once_whatever_it_pays(family, split):
    assert found(
        (split, 3, episode()), (split, 3, episode(1)), (split, 3, episode(paid=1)), family=family
    ) == (
        f"{split} 3, episode 2 has the same observations and actions as {split} 3, episode 0 "
        "(1 of 3 episodes are such copies): leave one of the two out"
    )


@pytest.mark.parametrize("family", [CHEETAH, PUSH, HOPPER], ids=lambda family: family.name)
def test_what_is_trained_on_is_not_held_out_whatever_it_pays(family):
    wrong = found(("train", 0, episode()), ("test", 0, episode(paid=1)), family=family)
    assert wrong.startswith("test 0, episode 1 has the same observations and actions as train 0, ")
    assert "what is held out must not be trained on; leave one" in wrong


@pytest.mark.parametrize("split", ["train", "test"])
def test_tasks_of_a_split_share_episodes_with_rewards_of_their_own_and_not_with_the_same(split):
    shared = (split, 0, episode()), (split, 1, episode(paid=1)), (split, 2, episode(paid=2))
    assert found(*shared) == ""
    assert found(*shared, (split, 3, episode(paid=1))) == (
        f"{split} 3, episode 3 has the same observations, actions and rewards as {split} 1, "
        "episode 1 (1 of 4 episodes are such copies): rewards are a task's own; leave one of the "
        "two out"
    )


def test_sparse_rewards_may_be_alike_in_two_tasks():
    failed = replace(episode(), rewards=np.full(9, -1.0))
    assert found(("train", 0, failed), ("train", 1, failed), family=PUSH) == ""


def test_an_episode_is_of_one_task_where_tasks_differ_in_their_dynamics():
    wrong = found(("train", 0, episode()), ("train", 1, episode(paid=1)), family=HOPPER)
    assert "as train 0, episode 0" in wrong
    assert "tasks of hopper-params differ in their dynamics, so that it is of one only" in wrong


def test_all_copies_are_counted():
    placed = [("train", task, episode(seed)) for task in range(3) for seed in range(4)]
    assert "(8 of 12 episodes are such copies)" in found(*placed)


def test_a_copy_is_told_by_the_whole_of_it_and_in_single_precision():
    whole = replace(episode(), actions=np.where(np.eye(9, 2), 0.0, episode().actions))
    known = origin(whole)
    for kept in ([0, 3], [1], list(range(9))):
        part = thinned(whole, np.array(kept))
        assert (part.origin or origin(part)) == known
        assert (thinned(part, np.array([0])).origin or origin(part)) == known
    single = {
        name: getattr(whole, name).astype(np.float32).astype(np.float64)
        for name in ("observations", "actions", "rewards")
    }
    assert origin(replace(whole, **single)) == known
    assert (
        origin(replace(whole, actions=np.where(whole.actions == 0, -0.0, whole.actions))) == known
    )
    assert origin(replace(whole, observations=whole.observations + 1e-6))[0] != known[0]
    assert origin(replace(whole, rewards=-whole.rewards)) != known


def test_copies_among_what_was_there_before_are_not_told_again():
    there = [("old 0", "train", 0, episode()), ("old 1", "train", 0, episode())]
    assert twice(CHEETAH, [("new 0", "train", 1, episode(1))], there) == ""
    told = twice(CHEETAH, [("new 0", "test", 1, episode(paid=1))], there)
    assert told.startswith("new 0 has the same observations and actions as old 0 (1 of 1 episodes")
