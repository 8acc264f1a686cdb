"""Whether a bundle scores on robosuite's own environment, through the daemon, what it scores here.

    python -m benchmarks.daemon_scores runs/push --tasks 10 --episodes 3

The robot's side is `fieldtune-robot adapt` at the run's control rate (20 Hz), one held-out task
after another: robosuite steps the arm by its own `step`. This side runs the agent that the bundle
was made of, in the compiled batch, from the same start states and with the same z, which the
robot's journal has. Prints both, and how far they are apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws
from fieldtune.train.agent.agent import Agent
from fieldtune.train.agent.trials import run_episodes
from fieldtune.train.launch import settle
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.capabilities import require_exportable, require_self_supervised
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import newest

ADAPT_S = 1800.0


@dataclass(frozen=True)
class Acted:
    """One adapted episode of the robot: where it began, its z, the rewards, and the loop's rate."""

    start_seed: int
    z: list[float]
    rewards: list[float]
    rate_hz: float
    changed: int  # steps whose action was not applied as requested


def adapted(run: Run, bundle: Path, folder: Path, task: int, episodes: int) -> list[Acted]:
    """Adapt a robot of its own to the held-out task of that index; its acting episodes.

    Raises `SystemExit` with the robot's own words when it does not come to the end.
    """
    state = folder / f"task-{task}"
    parameters = [float(value) for value in run.dataset.test_tasks[task]]
    command = [sys.executable, "-m", "fieldtune.robot.launch", "adapt"]
    command += ["--config", str(run.folder / "config.yaml"), "--bundle", str(bundle)]
    command += ["--episodes", str(episodes), f"robot.state_dir={json.dumps(str(state))}"]
    command += [f"robot.driver.task={json.dumps(parameters)}", f"robot.seed={task}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ADAPT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nleft with {done.returncode}:\n{done.stderr}")
    with Journal.read(state / "journal.sqlite") as journal:
        numbers = [entry.number for entry in journal.entries()][-episodes:]
        return [_acted(journal, number, task) for number in numbers]


def _acted(journal: Journal, number: int, seed: int) -> Acted:
    steps, rewards = journal.episode(number).steps, journal.rewards(number)
    seconds = (steps[-1].sense_ns - steps[0].sense_ns) / 1e9
    return Acted(
        start_seed=Draws(seed, number).start_seed,
        z=list(steps[0].z),
        rewards=[rewards[index] for index in sorted(rewards)],
        rate_hz=(len(steps) - 1) / seconds,
        changed=sum(bool(step.reason) for step in steps),
    )


def here(run: Run, agent: Agent, task: int, episodes: list[Acted]) -> list[NDArray[np.float64]]:
    """Rewards of the same episodes in the batched simulator, `(step,)` each."""
    z = torch.tensor([each.z for each in episodes], dtype=torch.float32)
    simulator = run.family.simulator(len(episodes))
    try:
        found = run_episodes(
            agent.actor(z, torch.zeros_like(z)),
            run.family,
            simulator,
            np.array([each.start_seed for each in episodes]),
            np.repeat(run.dataset.test_tasks[task : task + 1], len(episodes), axis=0),
        )
    finally:
        simulator.close()
    return [episode.rewards for episode in found]


def main() -> None:
    settle()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a trained run's folder")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=3, help="adapted ones a task")
    given = parser.parse_args()
    run = open_run(load_config(given.run / "config.yaml"), given.run)
    trained, phase, updates = newest(run)
    agent = require_self_supervised(run, trained).agent
    robots, batch, successes, rates, changed = [], [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "policy.bundle"
        Exporter(run, require_exportable(run, trained)).write(bundle, phase=phase, updates=updates)
        for task in range(min(given.tasks, len(run.dataset.test_tasks))):
            episodes = adapted(run, bundle, Path(folder), task, given.episodes)
            ours = here(run, agent, task, episodes)
            robots += [sum(each.rewards) for each in episodes]
            batch += [float(rewards.sum()) for rewards in ours]
            successes += [
                (each.rewards[-1] == 0.0, rewards[-1] == 0.0)
                for each, rewards in zip(episodes, ours, strict=True)
            ]
            rates += [each.rate_hz for each in episodes]
            changed += sum(each.changed for each in episodes)
            last = slice(-given.episodes, None)
            print(f"task {task}: robot {robots[last]}, in process {batch[last]}", flush=True)
    robot, inside = float(np.mean(robots)), float(np.mean(batch))
    print(
        f"{len(robots)} episodes: return {robot:.3f} on robosuite through the daemon, {inside:.3f} "
        f"in process: {100 * abs(robot - inside) / max(abs(inside), 1e-9):.2f} % apart; "
        f"the same to 1e-6 in {int(np.isclose(robots, batch, atol=1e-6).sum())}"
    )
    if run.family.sparse_reward:
        there, in_process = np.mean(successes, axis=0)
        print(f"success: {there:.0%} through the daemon, {in_process:.0%} in process")
    print(f"rate: {min(rates):.2f} to {max(rates):.2f} Hz; {changed} actions were limited")


if __name__ == "__main__":
    main()
