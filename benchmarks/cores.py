"""Collecting, exploring and evaluating on 1, 2, 4, 8 and 16 cores of one machine.

`python -m benchmarks.cores [--quick]`. Rows beyond this machine's cores are left out and said so.
Networks are untrained: what they cost does not depend on what they have learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.alone import main
from benchmarks.figures import Goal, Series, Table
from benchmarks.turns import Effort, cores, in_turns
from fieldtune.sim.family import BatchSimulator, TaskFamily, bounds, width
from fieldtune.sim.registry import family
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import Part, Particles
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.trials import explore
from fieldtune.train.algorithms.smac import SmacSettings
from fieldtune.train.collecting.collect import collect
from fieldtune.train.collecting.pieces import Asked, Piece, ScriptedData
from fieldtune.train.collecting.spreading import on_cores
from fieldtune.train.config import RunConfig
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.in_simulation import TRIALS_AT_ONCE
from fieldtune.train.runs.config_file import load_config

ROOT = Path(__file__).parents[1]
WORKERS = (1, 2, 4, 8, 16)
EACH = 4  # pieces that every worker makes while it is timed
GOAL = 12.0
LEARNING = ("cheetah-vel", "reach")
PARTICLES = 1_000


def possible() -> tuple[int, ...]:
    """Of `WORKERS`, those that this machine has cores for."""
    return tuple(count for count in WORKERS if count <= cores())


def configured(name: str, *overrides: str) -> RunConfig:
    return load_config(ROOT / "configs" / f"{name}.yaml", overrides=overrides)


def label(workers: int) -> str:
    return f"{workers} worker{'s' * (workers > 1)}"


def table(
    title: str, unit: str, conditions: str, found: dict[int, list[float]], *checks: str
) -> Table:
    """What so many workers came to in a second, against one."""
    return Table(
        title=title,
        unit=unit,
        conditions=conditions,
        series=[Series(label(count), "ours", values) for count, values in found.items()],
        goals=[Goal("12× one core on 16", label(16), label(1), at_least=GOAL)],
        checks=list(checks),
        skipped={label(n): f"{cores()} cores here" for n in WORKERS if n not in found},
    )


def making(name: str, effort: Effort) -> Table:
    """Scripted episodes while all workers are busy: each has made a piece before the clock runs."""
    data = ScriptedData(asked := Asked.of(configured(name)))
    horizon = family(name).horizon

    def rate(workers: int) -> float:
        count = workers * (1 + effort.choose(EACH, 1))
        done: list[tuple[float, Piece]] = []
        with TemporaryDirectory() as folder:
            on_cores(workers)(
                asked,
                Path(folder),
                data.pieces()[:count],
                lambda piece: done.append((time.perf_counter(), piece)),
            )
        steps = horizon * sum(piece.episodes for _, piece in done[workers:])
        return steps / (done[-1][0] - done[workers - 1][0])

    runs = {str(count): partial(rate, count) for count in possible()}
    found = {int(n): v for n, v in in_turns(runs, effort.choose(3, 1)).items()}
    conditions = f"{name}, pieces of 8 episodes of {horizon} steps, workers already running"
    return table(f"Scripted data, {name}", "steps/s", conditions, found)


def stepping(name: str, effort: Effort) -> Table:
    """Processor time of a batch of simulators: what threads cost, on any machine and load."""
    config, one = configured(name), family(name)
    low, _ = bounds(one.action_fields)
    tasks = np.repeat(one.split().test, config.evaluation.repeats, axis=0)
    seeds, actions = np.arange(len(tasks)), np.zeros((len(tasks), len(low)))
    steps = effort.choose(40, 2)

    def rate(simulator: BatchSimulator) -> float:
        simulator.reset(seeds, tasks)
        started = time.process_time()
        for _ in range(steps):
            simulator.step(actions)
        return steps * len(tasks) / (time.process_time() - started)

    with ExitStack() as closing:
        runs = {}
        for count in WORKERS:
            simulator = one.simulator(len(tasks), count)
            closing.callback(simulator.close)
            runs[label(count)] = partial(rate, simulator)
        found = in_turns(runs, effort.rounds)
    return Table(
        title=f"Steps by processor time, {name}",
        unit="steps/s of one core",
        conditions=f"{len(tasks)} copies, {steps} steps; threads, however many cores there are",
        series=[Series(text, "ours", values) for text, values in found.items()],
        goals=[Goal("16 threads cost a tenth", label(16), label(1), at_least=0.9)],
    )


def whole_command(name: str, effort: Effort) -> Table:
    """`fieldtune collect`, from no data to a dataset, starts of processes and pictures included."""
    episodes = effort.choose(configured(name).data.episodes_per_task, 1)
    found: dict[int, list[float]] = {}
    for count in possible():
        with TemporaryDirectory() as folder:
            place = f"data.path={folder}/data"
            config = configured(
                name, place, f"workers={count}", f"data.episodes_per_task={episodes}"
            )
            found[count] = [1.0 / _seconds(partial(collect, config))]
    conditions = f"{name}, {episodes} episodes a task, once"
    return table(f"fieldtune collect, {name}", "runs/s", conditions, found)


class Clock:
    """Seconds spent inside of what it was asked to watch."""

    def __init__(self) -> None:
        self.spent = 0.0

    def watching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.spent += time.perf_counter() - started

        return watched

    def map(self, function: Callable[[Part], Tensor], pieces: Iterable[Part]) -> list[Tensor]:
        return list(map(self.watching(function), pieces))


def untrained(config: RunConfig, one: TaskFamily) -> tuple[Agent, Particles]:
    """The same weights and particles every time."""
    torch.manual_seed(0)
    rng, algorithm = np.random.default_rng(0), config.algorithm
    assert isinstance(algorithm, SmacSettings)
    observed, acted = width(one.observation_fields), width(one.action_fields)
    constants = Normalisation.of(
        rng.normal(size=(64, observed)), rng.normal(size=64), *bounds(one.action_fields)
    )
    shape = Shape(observed, acted, one.dynamics_vary, one.sparse_reward)
    z = torch.randn(PARTICLES, algorithm.latent_size)
    return Agent(shape, algorithm, constants), Particles(z, 1.0)


def acting(name: str, effort: Effort) -> Iterator[Table]:
    """Evaluation and exploration of one job, inferring by likelihood."""
    config, one = configured(name), family(name)
    agent, particles = untrained(config, one)
    settings = config.evaluation.model_copy(
        update={"context_episodes": 1} | effort.choose({}, {"repeats": 1})
    )
    test = one.split().test
    tasks = one.split().train[:TRIALS_AT_ONCE]
    kinds = {"Evaluation": len(test) * settings.repeats, "Exploration": len(tasks)}
    for title, copies in kinds.items():
        sides: dict[int, Callable[[], bytes]] = {}
        with ExitStack() as closing:
            for count in possible():
                spread = closing.enter_context(ThreadPoolExecutor(count)).map if count > 1 else map
                by = ByLikelihood(agent, particles, spread)
                if title == "Evaluation":
                    evaluator = Evaluator(one, test, settings, Acting(), count)
                    closing.callback(evaluator.close)
                    sides[count] = partial(_evaluated, evaluator, by)
                else:
                    simulator = one.simulator(len(tasks), count)
                    closing.callback(simulator.close)
                    sides[count] = partial(_explored, by, one, simulator, tasks)
            if len({run() for run in sides.values()}) != 1:
                raise AssertionError(f"{name}: workers change what is found")
            runs = {str(count): partial(_a_second, run) for count, run in sides.items()}
            found = {int(n): v for n, v in in_turns(runs, effort.choose(3, 1)).items()}
        yield table(
            f"{title}, {name}",
            "runs/s",
            f"{copies} copies, {PARTICLES:,} particles, one context episode",
            found,
            "what is found is equal to the last bit",
            *([_apart(one, test, settings, agent, particles)] if title == "Evaluation" else []),
        )


def _evaluated(evaluator: Evaluator, by: ByLikelihood) -> bytes:
    return evaluator.online(by, 0).curve.tobytes()


def _explored(by: ByLikelihood, one: TaskFamily, simulator: Any, tasks: Any) -> bytes:
    torch.manual_seed(0)
    trials = explore(
        by,
        one,
        simulator,
        tasks,
        np.random.default_rng(0),
        prior_episodes=1,
        posterior_episodes=1,
        acting=Acting(),
    )
    return b"".join(episode.observations.tobytes() for trial in trials for episode in trial)


def _apart(one: TaskFamily, test: Any, settings: Any, agent: Agent, particles: Particles) -> str:
    """How much of one worker's time no other core can take: policy, labels, Python."""
    clock = Clock()
    evaluator = Evaluator(one, test, settings, Acting())
    simulator: Any = evaluator.simulator
    for name in ("reset", "step"):
        setattr(simulator, name, clock.watching(getattr(simulator, name)))
    try:
        by = ByLikelihood(agent, particles, clock.map)
        seconds = _seconds(partial(_evaluated, evaluator, by))
    finally:
        evaluator.close()
    rest = 1.0 - clock.spent / seconds
    most = 1.0 / (rest + (1.0 - rest) / 16)
    return (
        f"with one worker {rest:.1%} of the time is outside of simulators and likelihood, so that "
        f"sixteen can be {most:.1f} times as fast at most; jobs side by side share nothing"
    )


def _a_second(run: Callable[[], object]) -> float:
    return 1.0 / _seconds(run)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(effort: Effort) -> Iterator[Table]:
    """Every table."""
    torch.set_num_threads(1)
    for name in effort.choose(("pick-place", "reach"), ("reach",)):
        yield making(name, effort)
    yield whole_command("reach", effort)
    for name in LEARNING:
        yield stepping(name, effort)
    for name in effort.choose(LEARNING, ("reach",)):
        yield from acting(name, effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
