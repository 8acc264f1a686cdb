"""The sides of the comparison of updates, each in a process of its own.

Allocator and thread pools read their settings when a process starts, so whoever wants others needs
another process: `python -m benchmarks.smac_sides SIDE THREADS DEVICE SIZE` answers one line on
stdout for each on stdin: seconds to measure for, in, and updates a second, out. `ours` is
`fieldtune.train.algorithms.smac` as `fieldtune train` runs it, and `bfloat16` the same in that
precision; `plain` is `benchmarks.plain_smac`; `products` are the matrix products of one update
alone, `last` those of the critics' last layers, and `peak` says at how many GFLOP/s the best
product of this machine runs.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.plain_smac import PlainSmac, Widths
from benchmarks.products import Product, peak_gflops, products_of, run_products
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.optimisation import place
from fieldtune.train.algorithms.smac import Smac, SmacSettings
from fieldtune.train.config import RunConfig
from fieldtune.train.data.replay import Batch, Replay, Trajectory
from fieldtune.train.data.sampling import draw_offline
from fieldtune.train.device import device_of, resolve
from fieldtune.train.phases.updates import offline_updates
from fieldtune.train.process_settings import environment
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.readings import Readings
from fieldtune.train.study.presets import overrides

ROOT = Path(__file__).parents[1]
SIDES = ("ours", "bfloat16", "plain", "products", "last", "peak")
TASKS, EPISODES, STEPS = 100, 6, 200  # the reference's 1,200 transitions a task
OBSERVATION, ACTION = 20, 6


def reference(*more: str) -> RunConfig:
    """cheetah-vel with the authors' sizes; `more` are overrides."""
    path = ROOT / "configs" / "cheetah-vel.yaml"
    return load_config(path, overrides=[*overrides("reference", "cheetah-vel"), *more])


_WIDE = [512] * 3
SIZES: dict[str, tuple[str, ...]] = {
    "authors": ("offline.batch=256",),
    "arms": (
        f"algorithm.networks.policy={_WIDE}",
        f"algorithm.networks.critic={_WIDE}",
        "algorithm.networks.critic_layer_norm=true",
        "algorithm.meta_batch=8",
        "algorithm.batch=128",
        "offline.batch=128",
    ),
}
"""Overrides of the authors' settings. Phase 1 of `authors` is drawn at phase 2's batch, the larger
one."""


class Data:
    """A replay of the reference's size with random numbers in it, and its draws; `config` is of
    `authors` unless given."""

    def __init__(
        self,
        tasks: int = TASKS,
        episodes: int = EPISODES,
        device: str = "cpu",
        config: RunConfig | None = None,
    ) -> None:
        rng = np.random.default_rng(0)
        self.config = config or reference(*SIZES["authors"])
        self.replay = Replay(tasks, tasks * episodes * STEPS, OBSERVATION, ACTION)
        for task in range(tasks):
            for _ in range(episodes):
                self.replay.add(
                    task,
                    Trajectory(
                        rng.standard_normal((STEPS + 1, OBSERVATION)).astype(np.float32),
                        rng.uniform(-1, 1, (STEPS, ACTION)).astype(np.float32),
                        rng.standard_normal(STEPS).astype(np.float32),
                        terminated=False,
                    ),
                )
        self.rng = np.random.default_rng(0)
        self._device = device

    def draw(self) -> tuple[Batch, Batch]:
        """Context and batch of one update."""
        drawn = draw_offline(self.replay, self.rng, self.config.algorithm, self.config.offline)
        if self._device == "cpu":
            return drawn
        context, batch = (part.each(lambda c: c.to(self._device)) for part in drawn)
        return context, batch


def normalisation() -> Normalisation:
    zeros, ones = np.zeros, np.ones
    return Normalisation(
        zeros(OBSERVATION, np.float32),
        ones(OBSERVATION, np.float32),
        zeros(ACTION, np.float32),
        ones(ACTION, np.float32),
        reward_mean=-0.5,
        reward_std=2.0,
    )


def make_ours(config: RunConfig, device: str = "cpu") -> Smac:
    """The same first weights every time."""
    torch.manual_seed(0)
    algorithm = config.algorithm
    assert isinstance(algorithm, SmacSettings)
    agent = Agent(Shape(OBSERVATION, ACTION), algorithm, normalisation())
    smac = Smac(agent, algorithm, algorithm.learning_rate)
    place(smac, resolve(device))  # which says what multiplies on a CPU
    return smac


def make_plain(first: Agent, config: RunConfig, device: str = "cpu") -> PlainSmac:
    """With the weights of `first`, which is of `config`."""
    algorithm, constants = config.algorithm, first.normalisation
    assert isinstance(algorithm, SmacSettings)
    sizes = algorithm.networks
    widths = Widths(
        sizes.policy, sizes.critic, sizes.encoder, sizes.decoder, sizes.critic_layer_norm
    )
    shift = constants.reward_mean / constants.reward_std
    plain = PlainSmac(OBSERVATION, ACTION, shift, widths)
    for name, network in plain.networks().items():
        weights = getattr(first, name).state_dict().values()
        network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
        network.to(device)
    plain.make_optimisers()
    return plain


def last_layers(products: list[Product], config: RunConfig) -> list[Product]:
    """Of one update's products those of the critics' last layers, there and back."""
    algorithm = config.algorithm
    assert isinstance(algorithm, SmacSettings)
    rows = algorithm.meta_batch * (config.offline.batch or algorithm.batch)
    sides = sorted((rows, algorithm.networks.critic[-1], 1))
    return [one for one in products if sorted(one.sides) == sides]


def turn_of(side: str, device: str, size: str) -> Callable[[float], float]:
    """What the side does in one turn: seconds to measure for, to updates a second."""
    more = ("algorithm.precision=bfloat16",) if side == "bfloat16" else ()
    data = Data(device=device, config=reference(*SIZES[size], *more))
    if side == "peak":
        return peak_gflops
    ours = make_ours(data.config, device)
    if side in ("products", "last"):
        products = products_of(lambda: ours.update(*data.draw()))
        if side == "last":
            products = last_layers(products, data.config)
        return lambda seconds: run_products(products, seconds)
    if side in ("ours", "bfloat16"):
        return lambda seconds: _updates(_as_trained(ours, data), seconds)
    torch.set_float32_matmul_precision("highest")  # a plain process's
    plain = make_plain(ours.agent, data.config, device)
    return lambda seconds: _updates(lambda: plain.update(*data.draw()), seconds)


def _as_trained(ours: Smac, data: Data) -> Callable[[], None]:
    """One update as phase 1 makes and reads it."""
    update = offline_updates(ours, data.replay, data.rng, data.config)
    readings, count = Readings(device_of(ours), lambda *_: None), itertools.count(1)
    return lambda: readings.add(next(count), update())


class Side:
    """One side's process, which waits for its turn. Closed by `close`."""

    def __init__(self, side: str, threads: int, device: str = "cpu", size: str = "authors") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.smac_sides", side, str(threads), device, size],
            cwd=ROOT,
            env=_environment(side, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self, seconds: float) -> float:
        """Updates a second over about `seconds`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("a side of the comparison ended: see its message above")
        return float(answer)

    def close(self) -> None:
        """Safe to call twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _environment(side: str, threads: int) -> dict[str, str]:
    """What `fieldtune` sets; for `plain` what a plain process has, but for its threads."""
    set_by_launcher = environment({})
    inherited = {key: v for key, v in os.environ.items() if key not in set_by_launcher}
    if side == "plain":
        return inherited | {"OMP_NUM_THREADS": str(threads)}
    return environment(inherited | {"FIELDTUNE_THREADS": str(threads)})


def _updates(update: Callable[[], object], seconds: float) -> float:
    count, started = 0, time.perf_counter()
    while True:
        update()
        count += 1
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return count / elapsed


def _serve(side: str, threads: int, device: str, size: str) -> None:
    torch.set_num_threads(threads)
    turn = turn_of(side, device, size)
    turn(0.0)
    for line in sys.stdin:
        print(turn(float(line)), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
