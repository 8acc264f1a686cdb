"""SMAC's offline updates a second at the authors' sizes, against plain eager PyTorch.

`python -m benchmarks.smac [--quick]`. Drawing the batch is part of an update on both sides, with
the same code; reading the losses back is too. Everything is fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import torch

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.products import products_of, total_gflop
from benchmarks.smac_sides import Data, Side, make_ours, make_plain
from benchmarks.turns import Effort, cores, in_turns
from fieldtune.train.runs.readings import numbers

OURS, PLAIN = "Fieldtune", "plain eager PyTorch"
PRODUCTS = "the same matrix products alone"
PEAK = "their operations at the best rate of a large product"
NO_GPU = {"one GPU": "torch finds no CUDA device"}
TOLERANCE = 1e-9  # in double precision, of losses and weights


def same_updates(updates: int = 5) -> str:
    """Train both from the same weights on the same draws with the same noise, in double precision:
    Adam's first steps are as long for a gradient of rounding errors as for any other.

    Raises `AssertionError` where a loss or a weight differs by more than rounding.
    """
    data = Data(tasks=6, episodes=1)
    ours = make_ours(data.config)
    ours.agent.double()
    plain = make_plain(ours.agent)
    for network in plain.networks().values():
        network.double()
    for _ in range(updates):
        context, batch = (part.each(lambda column: column.double()) for part in data.draw())
        state = torch.get_rng_state()
        metrics = numbers(ours.update(context, batch))
        torch.set_rng_state(state)
        losses = plain.update(context, batch)
    pairs = {
        "critic": (metrics["critic/loss"], losses["critic"]),
        "actor": (metrics["actor/loss"], losses["actor"]),
    }
    for name, (mine, theirs) in pairs.items():
        if abs(mine - theirs) > TOLERANCE * max(1.0, abs(theirs)):
            raise AssertionError(
                f"the {name} loss is {mine:.12g} here and {theirs:.12g} in plain PyTorch"
            )
    furthest = 0.0
    for name, network in plain.networks().items():
        both = zip(network.parameters(), getattr(ours.agent, name).parameters(), strict=True)
        furthest = max(furthest, *(float((a - b).detach().abs().max()) for a, b in both))
    if furthest > TOLERANCE:
        raise AssertionError(f"a weight is {furthest:g} away after {updates} updates")
    return (
        f"after {updates} updates from the same weights and noise, in double precision, losses are "
        f"equal and no weight is more than {furthest:.1g} away"
    )


def gflop() -> float:
    """Of one update's matrix products, in 10⁹ operations."""
    data = Data(tasks=6, episodes=1)
    ours = make_ours(data.config)
    return total_gflop(products_of(lambda: ours.update(*data.draw())))


def measure_on(threads: int, device: str, effort: Effort, operations: float, check: str) -> Table:
    """One table: sides with the same number of threads, on a CPU or a GPU."""
    sides: dict[str, tuple[str, Role]] = {OURS: ("ours", "ours"), PLAIN: ("plain", "theirs")}
    if device == "cpu":
        sides |= {PRODUCTS: ("products", "floor"), PEAK: ("peak", "floor")}
    with ExitStack() as closing:
        runs = {}
        for label, (name, _) in sides.items():
            side = Side(name, threads, device)
            closing.callback(side.close)
            runs[label] = partial(side.turn, effort.choose(2.0, 0.01))
        found = in_turns(runs, effort.rounds)
    if PEAK in found:
        found[PEAK] = [gflops / operations for gflops in found[PEAK]]
    goals = [Goal("≥ 2× eager", OURS, PLAIN, at_least=2.0)]
    if device == "cpu":
        goals.append(Goal("≥ 70 % of the matrix products alone", OURS, PRODUCTS, at_least=0.7))
    else:
        goals = [Goal("≥ 5× eager", OURS, PLAIN, at_least=5.0)]
    where = f"{threads} thread{'s' * (threads > 1)}" if device == "cpu" else "one GPU"
    return Table(
        title=f"SMAC updates, {where}",
        unit="updates/s",
        conditions=(
            f"meta-batch 4 × 256, MLP 300×3, twin critics, fp32, {operations:.2f} GFLOP an update; "
            f"{where} on every side, each in a process of its own: ours in the launcher's "
            "environment, the plain one in a default one"
        ),
        series=[Series(label, sides[label][1], values) for label, values in found.items()],
        goals=goals,
        checks=[check],
        skipped=NO_GPU if device == "cpu" and not torch.cuda.is_available() else {},
    )


def measure(effort: Effort) -> Iterator[Table]:
    """One thread, which is the default; every core; a GPU where there is one."""
    check, operations = same_updates(), gflop()
    for threads in effort.choose(sorted({1, cores()}), [1]):
        yield measure_on(threads, "cpu", effort, operations, check)
    if torch.cuda.is_available():
        yield measure_on(1, "cuda", effort, operations, check)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
