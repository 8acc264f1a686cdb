"""SMAC's offline updates a second on a GPU: eager, as one graph, and the matrix products alone; and
of five seeds in one process against one.

`python -m benchmarks.gpu [--quick] [--json FILE]`; `python -m benchmarks gpu --out FOLDER` writes
JSON and a page. Drawing the batch on the device is a part of each update, reading its losses back
is not: that happens once in fifty. Without a GPU it says so, and that is no failure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.products import Product, products_of, total_gflop
from benchmarks.smac_sides import Data, make_ours, reference
from benchmarks.turns import Effort, in_turns, rate
from fieldtune.train.algorithms.smac import Smac
from fieldtune.train.captured import WARM_UP, Captured
from fieldtune.train.config import RunConfig
from fieldtune.train.data.device_sampling import draw_offline
from fieldtune.train.data.resident_replay import ResidentReplay
from fieldtune.train.turns import Turns, aside, compute_on, let_others

GRAPH, EAGER, PRODUCTS = "one graph", "eager", "matrix products alone, one graph"
NO_GPU = {"one GPU": "no GPU here"}
AT_ONCE = 20  # updates between looks at the clock
ONE, FIVE = "one seed", "five seeds in one process"
FIVE_SEEDS = "Five seeds in one process, GPU"
PATIENCE_S = 300.0  # of seeds that are ready for those that are not
SAME = 20  # updates after which captured and eager weights are compared


@dataclass(frozen=True)
class Size:
    """One row of the table: a meta-batch, and the widths of all networks but the decoder.

    Attributes:
        faster: how many times eager's rate is the goal.
        products: which share of the products' rate is the goal, if any.
    """

    tasks: int
    rows: int
    width: int
    faster: float
    products: float | None = None

    def config(self) -> RunConfig:
        wide = [self.width] * 3
        names = ("encoder", "policy", "critic")
        return reference(
            *(f"algorithm.networks.{name}={wide}" for name in names),
            f"algorithm.meta_batch={self.tasks}",
            f"algorithm.batch={self.rows}",
            "offline.context.size=[32, 128]",
        )

    def title(self, tf32: bool) -> str:
        return f"SMAC updates, GPU, {self}, tf32 {'on' if tf32 else 'off'}"

    def goals(self) -> list[Goal]:
        faster = [Goal(f"≥ {self.faster:g}× eager", GRAPH, EAGER, at_least=self.faster)]
        if self.products is None:
            return faster
        says = f"≥ {100 * self.products:.0f} % of the matrix products alone"
        return [*faster, Goal(says, GRAPH, PRODUCTS, at_least=self.products)]

    def __str__(self) -> str:
        return f"{self.tasks} × {self.rows} rows, {self.width} wide"


SIZES = (Size(4, 256, 300, 6.0), Size(8, 64, 128, 8.0), Size(16, 256, 512, 4.0, 0.5))
SHARED = SIZES[:2]  # small networks, which leave room on a GPU
FIVE_GOALS = [Goal("≤ 2× the time of one seed", FIVE, ONE, at_least=2.5)]


def updates(config: RunConfig, data: Data, device: torch.device) -> tuple[Smac, Callable]:
    """A learner, and what makes one update of it, draws included."""
    smac, resident = make_ours(config, str(device)), ResidentReplay(data.replay, device)

    def step() -> Mapping[str, Tensor | float]:
        return smac.update(*draw_offline(resident, config.algorithm, config.offline))

    return smac, step


def same_weights(config: RunConfig, data: Data, device: torch.device) -> str:
    """Captured and eager from the same weights and random state. Raises `AssertionError`."""
    found = []
    for capture in (False, True):
        smac, step = updates(config, data, device)
        torch.manual_seed(1)
        update = Captured(device, step) if capture else step
        for _ in range(SAME):
            update()
        found.append(torch.cat([p.detach().flatten() for p in smac.agent.parameters()]))
    furthest = float((found[0] - found[1]).abs().max())
    if not furthest < 1e-3:
        raise AssertionError(f"a weight is {furthest:g} away after {SAME} updates")
    return f"no weight is more than {furthest:.1g} from eager's after {SAME} updates"


def run_of(update: Callable[[], object], device: torch.device) -> Callable[[], int]:
    """`AT_ONCE` updates and the wait for the last of them."""

    def run() -> int:
        for _ in range(AT_ONCE):
            update()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return AT_ONCE

    return run


def products_step(products: list[Product], device: torch.device) -> Callable[[], dict[str, Tensor]]:
    """All of one update's products; what it gives has no meaning."""
    placed = [(p.left.to(device), p.right.to(device), p.out.to(device), p.times) for p in products]

    def step() -> dict[str, Tensor]:
        for left, right, out, times in placed:
            for _ in range(times):
                torch.mm(left, right, out=out)
        return {"done": placed[0][2][0, 0]}

    return step


def measure_size(size: Size, tf32: bool, device: torch.device, effort: Effort) -> Table:
    """One table: a size, and whether products are rounded to tf32."""
    config = size.config()
    data = Data(tasks=effort.choose(100, 20), episodes=effort.choose(6, 1), config=config)
    on_cpu = make_ours(config)
    products = products_of(lambda: on_cpu.update(*data.draw()))
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        steps: dict[str, Callable[[], object]] = {
            GRAPH: Captured(device, updates(config, data, device)[1]),
            EAGER: updates(config, data, device)[1],
            PRODUCTS: Captured(device, products_step(products, device)),
        }
        runs = {
            name: partial(rate, run_of(step, device), effort.choose(1.0, 0.01))
            for name, step in steps.items()
        }
        found = in_turns(runs, effort.rounds)
        check = same_weights(config, data, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    roles: dict[str, Role] = {GRAPH: "ours", EAGER: "theirs", PRODUCTS: "floor"}
    return Table(
        title=size.title(tf32),
        unit="updates/s",
        conditions=(
            f"{card(device)}; contexts of 32 to 128, drawn on the device; "
            f"{total_gflop(products):.2f} GFLOP an update"
        ),
        series=[Series(name, roles[name], values) for name, values in found.items()],
        goals=size.goals(),
        checks=[check],
    )


def side_by_side(
    config: RunConfig, data: Data, device: torch.device, seeds: int, each: int
) -> float:
    """Updates a second of all `seeds` of one process, as `fieldtune study` runs them, of which each
    makes `each`. What comes before them is not measured."""
    turns, ready = Turns(seeds), threading.Barrier(seeds)

    def job(_: int) -> tuple[float, float]:
        with turns.taking_part():
            compute_on(device)
            update = Captured(device, updates(config, data, device)[1])
            for _ in range(WARM_UP + 1):
                update()
            _finish(device)
            with aside():
                ready.wait(PATIENCE_S)
            started = time.perf_counter()
            for _ in range(each):
                update()
                let_others()
            _finish(device)
            return started, time.perf_counter()

    with ThreadPoolExecutor(seeds) as pool:
        started, ended = zip(*pool.map(job, range(seeds)), strict=True)
    return seeds * each / (max(ended) - min(started))


def _finish(device: torch.device) -> None:
    """Wait for what the calling thread has asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def learn_as_alone(config: RunConfig, data: Data, device: torch.device, seeds: int = 5) -> str:
    """Seeds that share a process learn what each learns alone. Raises `AssertionError`."""

    def weights(turns: Turns, seed: int) -> Tensor:
        with turns.taking_part():
            compute_on(device)
            smac, step = updates(config, data, device)
            torch.manual_seed(seed)
            update = Captured(device, step)
            for _ in range(5 * SAME):
                update()
                let_others()
            return torch.cat([p.detach().flatten() for p in smac.agent.parameters()]).cpu()

    def learned(at_once: int) -> list[Tensor]:
        turns = Turns(at_once)
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(partial(weights, turns), range(seeds)))

    apart = torch.stack(learned(seeds)) - torch.stack(learned(1))
    furthest = float(apart.abs().max())  # nan where a weight is
    if not furthest < 1e-3:
        raise AssertionError(
            f"of {seeds} seeds in a process a weight is {furthest:g} from where it is alone after "
            f"{5 * SAME} updates"
        )
    return f"no weight is more than {furthest:.1g} from alone after {5 * SAME} updates"


def measure_seeds(size: Size, device: torch.device, effort: Effort) -> Table:
    """Five seeds in one process against one."""
    config = size.config()
    data = Data(tasks=effort.choose(100, 20), episodes=effort.choose(6, 1), config=config)
    runs = {
        name: partial(side_by_side, config, data, device, seeds, effort.choose(1000, 2))
        for name, seeds in ((FIVE, 5), (ONE, 1))
    }
    check = learn_as_alone(config, data, device)
    found = in_turns(runs, effort.rounds)
    return Table(
        title=f"{FIVE_SEEDS}, {size}",
        unit="updates/s, of all seeds",
        conditions=f"{card(device)}; each seed's update one graph, on a stream of its own",
        series=[Series(FIVE, "ours", found[FIVE]), Series(ONE, "theirs", found[ONE])],
        goals=FIVE_GOALS,
        checks=[check],
    )


def card(device: torch.device) -> str:
    """Which GPU, and by which torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name}, torch {torch.__version__}"


def measure(effort: Effort) -> Iterator[Table]:
    """Every size with tf32 off and on; where there is no GPU, which goals nobody can measure."""
    if not torch.cuda.is_available():
        missing = partial(
            Table,
            unit="updates/s",
            conditions="what only a GPU can show",
            series=[],
            skipped=NO_GPU,
        )
        for size in SIZES:
            yield missing(title=size.title(tf32=False), goals=size.goals())
        yield missing(title=FIVE_SEEDS, goals=FIVE_GOALS)
        return
    device = torch.device("cuda", torch.cuda.current_device())
    for size in SIZES:
        for tf32 in (False, True):
            yield measure_size(size, tf32, device, effort)
    for size in SHARED:
        yield measure_seeds(size, device, effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
