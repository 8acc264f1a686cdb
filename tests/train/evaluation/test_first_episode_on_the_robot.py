"""The robot's first episode is the one that evaluation has measured: the daemon against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.agent.units import context_of
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.inference import inferring
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.trained import after_offline

ROOT = Path(__file__).parents[3]
TASK, SEED = 1.5, 3


@pytest.fixture(params=["likelihood", "encoder"])
def run(make_trained, request):
    return make_trained(f"inference={request.param}")


@pytest.fixture
def adapted(run, tmp_path):
    """What `fieldtune-robot adapt --continuous` did, as a process, on gymnasium's own cheetah."""
    bundle, state = tmp_path / "policy.bundle", tmp_path / "state"
    Exporter(run, after_offline(run)).write(bundle, phase="offline", updates=6)
    config, summary = tmp_path / "robot.yaml", tmp_path / "summary.json"
    loose = dict.fromkeys(("observation_age_s", "late_fraction"), "tests run on busy machines")
    settings = {
        "name": "cheetah",
        "family": "cheetah-vel",
        "driver": {"name": "sim", "time_scale": float("inf"), "task": [TASK]},
        "state_dir": str(state),
        "limits": {"observation_age_s": 60.0, "late_fraction": 1.0, "loosen": loose},
        "seed": SEED,
    }
    config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
    command = [sys.executable, "-m", "fieldtune.robot.launch", "adapt", "--continuous"]
    command += ["--config", config, "--bundle", bundle, "--summary", summary, "--save", "fast"]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Journal.read(state / "journal.sqlite") as journal:
        episode, rewards = journal.episode(1), journal.rewards(1)
    return episode, rewards, json.loads(summary.read_text()), done


@pytest.mark.slow
def test_the_daemon_adapts_within_the_episode_as_evaluation_does(run, adapted):
    episode, rewards, told, done = adapted
    trained = after_offline(run)
    data = offline_replay(run, trained)
    inference = inferring(run, trained, data)
    actor = inference.adapt([context_of(inference, [])])
    first = torch.tensor([episode.steps[0].z], dtype=torch.float32)
    held = []

    def begin(rng):  # noqa: ARG001 - the robot says which z the episode begins with
        actor._held = first

    def heed(*step):
        held.append(actor._held[0].numpy())
        actor.heed(*step)

    actor.begin = begin
    simulator = run.family.simulator(1)
    start = np.array([Draws(SEED, 1).start_seed])
    (here,) = run_episodes(actor, run.family, simulator, start, np.array([[TASK]]), heed)
    simulator.close()

    assert len(episode.steps) == here.steps == run.family.horizon
    assert not any(step.reason for step in episode.steps)
    z = np.array([step.z for step in episode.steps])
    np.testing.assert_allclose(z, np.array(held), rtol=1e-5, atol=1e-6)
    assert len(np.unique(z, axis=0)) > 1
    applied = np.array([step.applied for step in episode.steps])
    np.testing.assert_allclose(applied, here.actions, rtol=0, atol=1e-4)
    found = np.array([rewards[step] for step in range(here.steps)])
    np.testing.assert_allclose(found, here.rewards, rtol=0, atol=1e-4)
    assert told["returns"]["adapted"] == [pytest.approx(here.rewards.sum(), abs=1e-4)]
    if run.config.inference == "likelihood":
        (effective,) = actor.effective_particles
        assert told["inference"]["effective_particles"] == pytest.approx(effective, rel=1e-2)
        assert "effective particles" in done.stderr
    last = actor._held
    if run.config.inference == "likelihood":  # after an episode the robot refines what it knows
        last = actor.after([context_of(inference, [])]).z
    np.testing.assert_allclose(told["within_episode"]["z"], last[0], rtol=1e-5, atol=1e-6)
    assert told["within_episode"]["lag_steps"] == {"median": 0.0, "max": 0}
    assert "task 'fast' is kept: 20 rewarded transitions" in done.stdout
