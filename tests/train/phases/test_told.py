"""What is told the task clones what succeeded: whole or resumed, and better than blind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldtune.settings import ConfigError
from fieldtune.sim.family import Field
from fieldtune.sim.registry import family
from fieldtune.train.agent.told import ToldActor, as_told
from fieldtune.train.collecting.collect import collect
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.told import require_tellable, train_told
from fieldtune.train.runs.checkpoint import CheckpointError, read_facts
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import RunError

CONFIG = Path(__file__).parents[3] / "configs" / "point-goal.yaml"
QUICK = (
    "workers=1",
    "tracker=none",
    "robot.family_options.rewards=sparse",
    "data.episodes_per_task=8",
    "offline.updates=400",
    "offline.checkpoint_every=150",
    "offline.average_rate=0.02",
    "evaluation.repeats=1",
)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    config = load_config(CONFIG, overrides=[f"data.path={folder / 'data'}", *QUICK])
    collect(config)
    return open_run(config, folder / "run")


@pytest.fixture
def place(run, tmp_path):
    """Where a run of the same data keeps this test's checkpoint."""
    here = replace(run, folder=tmp_path / "run")
    path = here.folder / "checkpoints" / "told.safetensors"
    path.parent.mkdir(parents=True)
    return here, path


def successes(run, told, tasks=None):
    evaluator = Evaluator.of(run.config, run.family, run.dataset.test_tasks)
    try:
        actor = ToldActor(told, evaluator.tasks if tasks is None else tasks(evaluator.tasks))
        return evaluator.acted(actor, 0).successes.mean()
    finally:
        evaluator.close()


def test_it_goes_where_it_is_told_on_tasks_it_never_saw_and_nowhere_told_another(place):
    run, path = place
    told = train_told(run, path)
    assert successes(run, told) > 0.8
    assert successes(run, told, lambda tasks: -tasks) < 0.2


def test_it_resumes_bit_for_bit(place, same):
    run, path = place
    done = []
    whole = train_told(run, path, done.append)
    assert done == list(range(1, 401))

    def kill(update):
        if update == 200:
            raise Killed

    again = path.with_name("again.safetensors")
    with pytest.raises(Killed):
        train_told(run, again, kill)
    assert read_facts(again)["updates"] == 150
    torch.manual_seed(99)
    resumed = train_told(run, again)
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(whole.state_dict(), train_told(run, again).state_dict())  # nothing is left to do


def test_anothers_checkpoint_is_refused(place):
    run, path = place
    train_told(run, path)
    faster = run.config.algorithm.model_copy(update={"learning_rate": 0.5})
    other = replace(run, config=run.config.model_copy(update={"algorithm": faster}))
    with pytest.raises(CheckpointError, match=r"trained with another algorithm\.learning_rate"):
        train_told(other, path)


def test_without_a_success_there_is_nothing_to_clone(place):
    run, path = place
    failed = [
        [replace(one, rewards=np.full(one.steps, -1.0)) for one in episodes]
        for episodes in run.dataset.train
    ]
    with pytest.raises(RunError, match="no episode of a training task ended in success"):
        train_told(replace(run, dataset=replace(run.dataset, train=failed)), path)
    assert not path.exists()


def test_what_has_no_success_or_no_such_policy_is_refused():
    smac, macaw = (
        load_config(CONFIG, overrides=[f"algorithm={{name: {name}}}"]).algorithm
        for name in ("smac", "macaw")
    )
    with pytest.raises(ConfigError, match="point-goal has no success"):
        require_tellable(family("point-goal"), smac)
    with pytest.raises(ConfigError, match="'macaw' has not"):
        require_tellable(family("point-goal", rewards="sparse"), macaw)


def test_a_job_is_told_by_a_number_each_and_the_seed_of_layouts_not_at_all():
    told = as_told(family("multi").task_fields, np.array([[0.0, 7.0], [2.0, 9.0]]))
    assert told.tolist() == [[1, 0, 0], [0, 0, 1]]
    place = (Field("block", "index", (0.0,), (1.0,)), Field("goal", "m", (-1.0,), (1.0,)))
    assert as_told(place, np.array([1.0, 0.25])).tolist() == [0, 1, 0.25]
