"""An agent that has learned gains by being told its task; one that has not gains nothing."""

import pytest

from benchmarks.told_agent import learn, worth
from fieldtune.sim.registry import family as make_family
from fieldtune.train.collecting.told_agent import ToldAgent
from fieldtune.train.config import AgentReplay
from fieldtune.train.runs.seeds import seed_everything

ROUNDS = 8


def test_only_an_agent_that_learned_from_it_gains_by_its_own_task() -> None:
    rng, family = seed_everything(0), make_family("point-goal")
    tasks = family.split().train
    settings = AgentReplay(hidden=(32, 32), learning_rate=3e-3, discount=0.9)
    agent = ToldAgent(family, tasks, 1000, settings, threads=1)
    _, _, nothing = worth(agent, tasks, repeats=2)
    assert nothing.low < 0 < nothing.high
    assert learn(agent, tasks, ROUNDS, 100, rng) < 0
    own, another, gained = worth(agent, tasks, repeats=2)
    assert gained.value == pytest.approx(own.value - another.value)
    assert gained.low > 1.0
