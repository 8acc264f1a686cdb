from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from fieldtune.sim.family import Field, TaskSplit
from fieldtune.sim.rollout import BATCH, mean_return
from fieldtune.train.agent.squashed_gaussian import sample_with_log_prob
from fieldtune.train.collecting.agent_replay import TooFewRounds, collect_replay, moments
from fieldtune.train.config import AgentReplay

SMALL = AgentReplay(rounds=2, updates_per_round=3)
EDGE = 2.0


@dataclass
class NudgeBatch:
    """Positions on a line, pushed by the action; over the edge is terminal."""

    n_envs: int
    position: np.ndarray = field(init=False)

    def reset(self, seeds, tasks):  # noqa: ARG002
        starts = [np.random.default_rng(seed).uniform(-0.1, 0.1) for seed in seeds]
        self.position = np.array(starts)[:, None]
        return self.position.copy()

    def step(self, actions):
        gone = np.abs(self.position) > EDGE
        self.position = np.where(gone, self.position, self.position + 0.25 * actions)
        return self.position.copy(), np.abs(self.position[:, 0]) > EDGE

    def close(self):
        pass


@dataclass
class NudgeFamily:
    """Be at a hidden position. Its reward refuses an s' that does not follow from s and a."""

    train: tuple[float, ...] = (-1.0, -0.5, 0.5, 1.0)
    test: tuple[float, ...] = (0.0, 0.75)
    name: str = "nudge"
    horizon: int = 12
    observation_fields: tuple[Field, ...] = (Field("position", "m", (-9.0,), (9.0,)),)
    action_fields: tuple[Field, ...] = (Field("push", "m", (-1.0,), (3.0,)),)
    task_fields: tuple[Field, ...] = (Field("position", "m", (-1.0,), (1.0,)),)
    signal_fields: tuple[Field, ...] = ()
    dynamics_vary: bool = False
    sparse_reward: bool = False
    asked: list[float] = field(default_factory=list)

    def split(self):
        return TaskSplit(np.array(self.train)[:, None], np.array(self.test)[:, None])

    def reward(self, observation, action, next_observation, task, signals=None):
        assert signals is None
        alive = np.abs(observation) <= EDGE
        assert np.allclose((observation + 0.25 * action)[alive], next_observation[alive])
        self.asked += np.unique(task).tolist()
        return -np.abs(next_observation[..., 0] - task[..., 0])

    def simulator(self, n_envs, threads=1):  # noqa: ARG002
        return NudgeBatch(n_envs)


def same(ones, others):
    return len(ones) == len(others) and all(
        one.task_index == other.task_index
        and np.array_equal(one.observations, other.observations)
        and np.array_equal(one.actions, other.actions)
        for one, other in zip(ones, others, strict=True)
    )


def test_every_task_of_both_splits_gets_as_many_episodes_as_asked_for():
    data = collect_replay(NudgeFamily(), 0, 3, SMALL)
    assert [e.task_index for e in data.train] == [task for task in range(4) for _ in range(3)]
    assert [e.task_index for e in data.test] == [task for task in range(2) for _ in range(3)]
    assert len(data.return_by_round) == SMALL.rounds


def test_an_episode_keeps_the_rewards_of_the_task_it_was_acted_for():
    family = NudgeFamily()
    data = collect_replay(family, 0, 3, SMALL)
    for episodes, tasks in ((data.train, family.train), (data.test, family.test)):
        for episode in episodes:
            expected = -np.abs(episode.observations[1:, 0] - tasks[episode.task_index])
            np.testing.assert_array_equal(episode.rewards, expected)


def test_the_data_follow_from_the_seed():
    first, again = (collect_replay(NudgeFamily(), 3, 2, SMALL) for _ in range(2))
    other = collect_replay(NudgeFamily(), 4, 2, SMALL)
    assert same(first.train, again.train)
    assert same(first.test, again.test)
    assert not same(first.train, other.train)


@pytest.mark.parametrize("changed", [{"hidden": (16,)}, {"learning_rate": 0.1}, {"discount": 0.5}])
def test_the_agents_size_and_pace_change_what_it_does(changed):
    plain = collect_replay(NudgeFamily(), 0, 3, SMALL)
    other = collect_replay(NudgeFamily(), 0, 3, SMALL.model_copy(update=changed))
    assert not same(plain.train, other.train)


def test_held_out_tasks_leave_no_trace_in_the_training_tasks_data():
    with_these = collect_replay(NudgeFamily(), 0, 3, SMALL)
    with_others = collect_replay(NudgeFamily(test=(0.1, 0.2, 0.3)), 0, 3, SMALL)
    assert same(with_these.train, with_others.train)


def test_an_update_never_joins_two_episodes_nor_labels_for_a_held_out_task():
    family = NudgeFamily()
    data = collect_replay(family, 0, 1, AgentReplay(rounds=2, updates_per_round=20))
    assert any(episode.terminated for episode in data.train)
    assert any(not episode.terminated for episode in data.train)
    for_held_out = sum(value in family.test for value in family.asked)
    assert for_held_out == len(family.test)  # when their own episode was labelled, and never again


def test_held_out_episodes_of_one_task_differ():
    data = collect_replay(NudgeFamily(), 0, 3, AgentReplay(rounds=1, updates_per_round=1))
    first = [episode for episode in data.test if episode.task_index == 0]
    assert len({episode.actions.tobytes() for episode in first}) == 3


@pytest.mark.parametrize(
    ("kept", "total", "part", "expected"),
    [
        (3, 9, "whole", [1, 4, 7]),
        (1, 9, "whole", [4]),
        (4, 4, "whole", [0, 1, 2, 3]),
        (3, 9, "end", [6, 7, 8]),
        (4, 4, "end", [0, 1, 2, 3]),
        (4, 2, "end", [0, 0, 1, 1]),
    ],
)
def test_what_is_kept_comes_from_the_whole_run_or_its_end(kept, total, part, expected):
    assert moments(kept, total, part).tolist() == expected


def test_the_end_of_a_run_is_a_slice_of_the_same_run():
    def data(part):
        settings = AgentReplay(rounds=3, updates_per_round=1, slice=part)
        return collect_replay(NudgeFamily(), 0, 2, settings)

    whole, end = data("whole"), data("end")
    assert whole.return_by_round == end.return_by_round
    early, late = ({episode.actions.tobytes() for episode in found.train} for found in (whole, end))
    assert early != late


def test_too_few_rounds_are_refused_with_the_number_that_would_do():
    family = NudgeFamily()
    with pytest.raises(TooFewRounds, match=r"data.agent.rounds is 1.*set data.agent.rounds to 2"):
        collect_replay(family, 0, BATCH // 4 + 1, AgentReplay(rounds=1, updates_per_round=1))
    assert family.asked == []


def test_progress_counts_every_episode_once_and_says_how_it_goes():
    told = []
    collect_replay(NudgeFamily(), 0, 1, SMALL, lambda *now: told.append(now))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][:2] == (2 * BATCH, 2 * BATCH)
    assert told[-1][2].startswith("return -")


@pytest.mark.slow
def test_more_updates_make_an_agent_that_does_what_each_task_asks():
    short = collect_replay(NudgeFamily(), 0, 1, AgentReplay(rounds=4, updates_per_round=1))
    long = collect_replay(NudgeFamily(), 0, 4, AgentReplay(rounds=4, updates_per_round=150))
    assert long.return_by_round[0] == short.return_by_round[0]
    # Standing still costs 12 · 0.75; going straight there at a push of 1 or less about 2.
    assert long.return_by_round[-1] > -4.0 > short.return_by_round[-1]
    early, late = long.train[0::4] + long.test[0::4], long.train[3::4] + long.test[3::4]
    assert mean_return(late) > mean_return(early) + 4.0


def test_log_probability_of_a_sample_matches_its_plain_form():
    mean, log_std = torch.tensor([[0.3, -1.2]]), torch.tensor([[-0.5, 0.2]])
    torch.manual_seed(0)
    action, log_prob = sample_with_log_prob(mean, log_std)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()),
        [torch.distributions.TanhTransform()],
    )
    torch.testing.assert_close(log_prob, squashed.log_prob(action).sum(-1))


def test_entropy_pulls_a_saturated_policy_back_inside():
    mean = torch.full((64, 1), 8.0, requires_grad=True)
    _, log_prob = sample_with_log_prob(mean, torch.zeros(64, 1))
    (gradient,) = torch.autograd.grad(log_prob.mean(), mean)
    assert torch.isfinite(gradient).all()
    assert (gradient > 0).all()  # a smaller mean, a lower log-probability, a higher entropy
