"""A family of labelled data alone: a YAML file, imported logs, and all that needs no simulator."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.settings import ConfigError
from fieldtune.sim.family import LabelsAlone
from fieldtune.sim.label_only import read
from fieldtune.sim.registry import UnknownFamily, family
from fieldtune.train.agent.likelihood import Particles
from fieldtune.train.cli.app import app
from fieldtune.train.evaluation.logs import better, halves, measure_logs
from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.opening import open_existing

GOALS = {"train": [[-0.8], [-0.3], [0.2], [0.9]], "test": [[-0.6], [0.0], [0.6]]}
FAMILY = {
    "name": "bench-logs",
    "robot": "slider",
    "period_s": 0.1,
    "horizon": 20,
    "observation": [
        {"name": "position", "unit": "m", "low": [-5.0], "high": [5.0]},
        {"name": "load", "unit": "N", "width": 1},
    ],
    "action": [{"name": "step", "unit": "m", "low": [-0.5], "high": [0.5]}],
    "task": [{"name": "goal", "unit": "m", "low": [-1.0], "high": [1.0]}],
    "tasks": GOALS,
    "reward_bounds": [-6.0, 0.0],
    "success_reward": -0.05,
}
RUN = {
    "family": "bench-logs",
    "family_file": "bench-logs.yaml",
    "data": {"path": "data"},
    "device": "cpu",
    "workers": 1,
    "algorithm": {
        "networks": {"encoder": [16], "policy": [16], "critic": [16], "decoder": [16]},
        "meta_batch": 2,
    },
    "offline": {"updates": 3},
    "robot": {"name": "slider-1", "family": "bench-logs"},
}


def log(goal, seed):
    """An episode of a slider that goes to `goal` in noisy steps: s, a, s' and r, rows in time."""
    rng = np.random.default_rng(seed)
    position, rows = rng.uniform(-1, 1), []
    for _ in range(20):
        step = np.clip(goal - position + rng.normal(0, 0.1), -0.5, 0.5)
        reached = position + step
        rows.append((position, rng.normal(), step, reached, -abs(reached - goal)))
        position = reached
    rows = np.array(rows)
    loads = np.append(rows[:, 1], rng.normal())
    return (
        np.stack([rows[:, 0], loads[:-1]], axis=1),
        rows[:, 2:3],
        np.stack([rows[:, 3], loads[1:]], axis=1),
        rows[:, 4:],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Her files: the family, one HDF5 file of four episodes a task, and the run's."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench-logs.yaml").write_text(yaml.safe_dump(FAMILY))
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    for task, (goal,) in enumerate(GOALS["train"] + GOALS["test"]):
        episodes = [log(goal, 10 * task + episode) for episode in range(4)]
        columns = [np.concatenate(column) for column in zip(*episodes, strict=True)]
        with h5py.File(folder / f"task-{task}.hdf5", "w") as file:
            for key, column in zip(("obs", "actions", "next_obs", "rewards"), columns, strict=True):
                file[key] = column
            file["terminals"] = np.zeros((len(columns[0]), 1), bool)
    return folder


def fieldtune(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def trained(folder):
    """Imported and trained by the page's commands."""
    of = ("--family", folder / "bench-logs.yaml", "--stride", 1)
    made = fieldtune("import", *of, "--hdf5", folder / "task-{task}.hdf5", "--out", folder / "data")
    assert made.exit_code == 0, made.stderr
    assert "imported/bench-logs-v0: 28 episodes, 560 transitions" in made.stdout
    assert "differ from the family's own" not in made.stdout
    done = fieldtune("train", "--config", folder / "run.yaml", "--run", folder / "run")
    assert done.exit_code == 0, done.stderr
    return folder / "run"


def test_its_run_is_exported_and_evaluated_on_logs(trained, folder):
    exported = fieldtune("export", "--run", trained, "--out", folder / "bench.bundle")
    assert exported.exit_code == 0, exported.stderr
    evaluated = fieldtune("evaluate", "--run", trained)
    assert evaluated.exit_code == 0, evaluated.stderr
    assert "What the policy earns is not known" in " ".join(evaluated.stdout.split())
    found = json.loads((trained / "logs.json").read_text())["phases"]["before"]
    assert np.isfinite([found["likelihood"], found["by_mean"], found["own_error"]]).all()
    assert np.shape(found["ranks"]) == (2, 3)
    page = (trained / "report.html").read_text()
    assert "What the policy earns is not known" in page
    assert "rank of the own task after 2" in page


def test_what_robots_send_is_learned_from(trained):
    run = open_existing(trained)
    phase = SelfSupervisedPhase(run, true_rewards=False)
    sent = [replace(each, rewards=np.full(each.steps, np.nan)) for each in run.dataset.train[0]]
    phase.add_unlabelled(sent)
    before = [each.clone() for each in phase.learner.networks.parameters()]
    assert all(torch.isfinite(torch.as_tensor(value)) for value in phase.update().values())
    now = phase.learner.networks.parameters()
    assert any(not torch.equal(one, other) for one, other in zip(before, now, strict=True))
    oracle = SelfSupervisedPhase(run, true_rewards=True)
    with pytest.raises(LabelsAlone, match="has no reward function"):
        oracle._true_rewards(run.dataset.train[0][0], 0)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("collect", "--config", "run.yaml", "data.path=new"), "fieldtune collect needs a simul"),
        (("oracle", "--run", "run"), "exploration in this process needs a simulator"),
        (("demo", "--config", "run.yaml", "--out", "demo"), "fieldtune demo needs a simulator"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_what_needs_a_simulator_says_so_in_one_line(folder, monkeypatch, command, message):
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.rglob("*.safetensors"))
    refused = fieldtune(*command)
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in folder.rglob("*.safetensors")) == before
    assert not (folder / "new").exists()


def test_the_sim_driver_says_that_it_does_not_know_it():
    config = RobotConfig(name="s1", family="bench-logs")
    with pytest.raises(DriverFault, match=r"'bench-logs'.*family_file, and has no simulator"):
        create_driver(config, "run.yaml")


def test_check_family_checks_what_there_is(folder):
    shown = fieldtune("check-family", folder / "bench-logs.yaml")
    assert shown.exit_code == 0, shown.stdout
    assert "not checked" in shown.stdout
    assert "FAILED" not in shown.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": [{"name": "a", "unit": "m", "width": 1}]}, "'a' needs low and high"),
        ({"task": [{"name": "g", "unit": "m", "low": [1.0], "high": [0.0]}]}, "expected low < hi"),
        ({"observation": [FAMILY["observation"][0]] * 2}, "'position' is there twice"),
        ({"tasks": {"train": [[0.0]], "test": [[3.0]]}}, r"tasks.test\[0\] is \[3.0\]: expected"),
        ({"horizon": 0}, "'horizon' is 0"),
        ({"success_reward": "near"}, "'success_reward' is 'near'"),
        ({"reward": "x"}, "reward"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, change, message):
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(FAMILY | change))
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "f.yaml")


def test_a_file_of_another_name_or_robot_is_refused(folder):
    file = str(folder / "bench-logs.yaml")
    found = family("bench-logs", family_file=file, robot="slider")
    assert (found.name, found.success_reward) == ("bench-logs", -0.05)
    with pytest.raises(UnknownFamily, match=r"family is 'bench', the name in .* is 'bench-logs'"):
        family("bench", family_file=file)
    with pytest.raises(UnknownFamily, match="robot is 'ur5': leave it out, or say slider"):
        family("bench-logs", family_file=file, robot="ur5")


class Exact(nn.Module):
    """r(s, a, z) of the slider, where z is the goal, in training units."""

    def __init__(self, constants, blind=False):
        super().__init__()
        self.constants, self.blind = constants, blind

    def forward(self, observation, action, z):
        known = self.constants
        position = observation[..., :1] * known.observation_std[0] + known.observation_mean[0]
        reached = position + 0.5 * action
        reward = -(reached - (0.0 if self.blind else 1.0) * z[..., :1]).abs()
        return (reward - known.reward_mean) / known.reward_std


class Towards(Exact):
    """The policy that made the logs, without its noise."""

    def forward(self, observation, z):
        known = self.constants
        position = observation[..., :1] * known.observation_std[0] + known.observation_mean[0]
        wanted = ((z[..., :1] - position) / 0.5).clamp(-0.999, 0.999)
        return torch.atanh(wanted), torch.zeros_like(wanted)


@pytest.mark.parametrize("blind", [False, True])
def test_a_decoder_that_knows_the_task_tells_it_and_one_that_is_blind_does_not(trained, blind):
    run = open_existing(trained)
    agent = SelfSupervisedPhase(run, true_rewards=False).learner.agent
    agent.decoder = Exact(agent.normalisation, blind)
    agent.policy = Towards(agent.normalisation)
    _, asked = halves(run.dataset.test)
    z = torch.zeros(3, agent.latent_size)
    z[:, 0] = torch.tensor(GOALS["test"])[:, 0]
    particles = Particles(z, reward_variance=0.05)
    found = measure_logs(agent, particles, z, asked, 3, 0)
    gain = np.subtract(found.likelihood, found.by_mean)
    if blind:
        assert found.ranks == [[2.0] * 3] * 2
    else:
        assert found.ranks == [[1.0] * 3] * 2
        assert (gain > 1.0).all()
    assert np.less(found.own_error, 0.3).all()
    assert np.greater(found.other_error, 2 * np.array(found.own_error)).all()


def test_too_few_logs_are_refused_by_task(trained):
    held_out = open_existing(trained).dataset.test
    with pytest.raises(EvaluationError, match="held-out task 1 has 1 episode"):
        halves([held_out[0], held_out[1][:1]])
    with pytest.raises(EvaluationError, match="hold out 1 task"):
        halves(held_out[:1])
    rewards = [float(each.rewards.mean()) for each in held_out[0]]
    assert [float(each.rewards.mean()) for each in better(held_out[0])] == sorted(rewards)[:1:-1]


def test_the_page_shows_this_file():
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text()
    (shown,) = re.findall(r"~~~yaml\n(.*?)~~~", page, re.DOTALL)
    assert yaml.safe_load(shown) == FAMILY
