"""Environment steps a second: this project's batched simulators against the loops they replace.

Run as `python benchmarks/sim_speed.py`. Both sides of a ratio run in turns in the same process,
with uniformly random actions; the best of several rounds counts: other load only ever slows down.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sim.family import BatchSimulator, SingleRobot, TaskFamily, bounds
from sim.registry import family

BATCH = 64


def rate(run: Callable[[], int]) -> float:
    """Steps a second of one call that returns how many it made."""
    started = time.perf_counter()
    steps = run()
    return steps / (time.perf_counter() - started)


def batched(simulator: BatchSimulator, one: TaskFamily, steps: int) -> Callable[[], int]:
    """An episode's first `steps` steps in every copy."""
    tasks = one.sample_tasks(0, simulator.n_envs)
    low, high = bounds(one.action_fields)
    actions = np.random.default_rng(0).uniform(low, high, (steps, simulator.n_envs, len(low)))

    def run() -> int:
        simulator.reset(np.arange(simulator.n_envs), tasks)
        for action in actions:
            simulator.step(action)
        return steps * simulator.n_envs

    return run


def single(robot: SingleRobot, one: TaskFamily, steps: int) -> Callable[[], int]:
    """The same in the family's reference environment, one robot."""
    task = one.sample_tasks(0, 1)[0]
    low, high = bounds(one.action_fields)
    actions = np.random.default_rng(0).uniform(low, high, (steps, len(low)))

    def run() -> int:
        robot.reset(0, task)
        for action in actions:
            robot.step(action)
        return steps

    return run


def compare(name: str, reference: str, steps: int, rounds: int, threads: list[int]) -> None:
    """Print one family's rates and their ratio to the reference's."""
    one = family(name)
    robot = one.single_robot()
    simulators = [one.simulator(BATCH, count) for count in threads]
    runs = {f"{reference}, one by one": single(robot, one, steps)}
    for count, simulator in zip(threads, simulators, strict=True):
        runs[f"batch of {BATCH}, {count} thread(s)"] = batched(simulator, one, steps)
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, 0.0)
    for _ in range(rounds):
        for label, run in runs.items():
            best[label] = max(best[label], rate(run))
    slowest = best[next(iter(runs))]
    for label, value in best.items():
        print(f"{name:12} {label:28} {value:10,.0f} steps/s   x {value / slowest:.1f}", flush=True)
    robot.close()
    for simulator in simulators:
        simulator.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    compare("reach", "robosuite", 50, options.rounds, options.threads)
    compare("push", "robosuite", 60, options.rounds, options.threads)
    compare("cheetah-vel", "gymnasium", 200, options.rounds, options.threads)


if __name__ == "__main__":
    main()
