"""PEARL online: data and updates keep pace, it learns, and resumes bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldtune.settings import ConfigError
from fieldtune.train.collecting.collect import collect
from fieldtune.train.evaluation.measure import measure
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.online import COPIES, train_online
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.opening import open_run

CONFIG = Path(__file__).parents[3] / "configs" / "point-goal.yaml"
QUICK = (
    "workers=1",
    "tracker=none",
    "data.episodes_per_task=4",
    "evaluation.context_episodes=2",
    "evaluation.repeats=1",
)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online") / "data"
    collect(load_config(CONFIG, overrides=[f"data.path={folder}", *QUICK]))
    return folder


@pytest.fixture
def make(data, tmp_path):
    """`make("online.steps=…", …)`: a run, and where it keeps its checkpoint."""

    def run(*overrides):
        config = load_config(CONFIG, overrides=[f"data.path={data}", *QUICK, *overrides])
        made = open_run(config, tmp_path / "run")
        path = made.folder / "checkpoints" / "online.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        return made, path

    return run


SHORT = (
    "online.steps=3000",
    "online.first_steps=700",
    "online.updates=40",
    "online.checkpoint_every=15",
)


def test_data_keep_pace_with_updates_and_it_resumes_bit_for_bit(make, same):
    run, path = make(*SHORT)
    trials = COPIES * run.family.horizon * 4  # two episodes from the prior, two adapted
    whole, steps = train_online(run, path)
    assert 3000 - trials < steps <= 3000 + trials
    assert read_facts(path)["steps"] == steps

    def kill(update):
        assert read_facts(again)["steps"] < 3000 if update > 15 else not again.exists()
        if update == 22:
            raise Killed

    again = path.with_name("again.safetensors")
    with pytest.raises(Killed):
        train_online(run, again, kill)
    assert read_facts(again)["updates"] == 15
    torch.manual_seed(99)
    resumed, as_many = train_online(run, again)
    assert as_many == steps
    assert same(whole.networks.state_dict(), resumed.networks.state_dict())


@pytest.mark.parametrize(("first", "trials"), [(700, 1), (1300, 2)])
def test_the_first_update_waits_for_its_steps(make, first, trials):
    run, path = make(*SHORT, f"online.first_steps={first}", "online.updates=1")
    _, steps = train_online(run, path)
    assert steps == trials * COPIES * run.family.horizon * 4


def test_anothers_checkpoint_is_refused(make):
    run, path = make(*SHORT)
    train_online(run, path)
    wider = run.config.online.model_copy(update={"first_steps": 900})
    other = replace(run, config=run.config.model_copy(update={"online": wider}))
    with pytest.raises(CheckpointError, match=r"trained with another online\.first_steps"):
        train_online(other, path)


def test_more_first_steps_than_steps_are_refused():
    with pytest.raises(ConfigError, match="first_steps 9 must not exceed steps 8"):
        load_config(CONFIG, overrides=["online.steps=8", "online.first_steps=9"])


@pytest.mark.slow
def test_it_finds_goals_that_it_was_not_trained_on(make):
    run, path = make("online.steps=30000", "online.updates=3000", "algorithm.learning_rate=0.003")
    learner, steps = train_online(run, path)
    here = as_method(run, "pearl")
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        found = measure(here, evaluator, learner, 3000, steps)
    finally:
        evaluator.close()
    blind, knowing = (np.mean(found.encoder.returns[k]) for k in (0, 2))
    assert knowing > blind + 2
