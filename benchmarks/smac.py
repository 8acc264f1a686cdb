"""SMAC's offline updates a second at the authors' sizes, against plain eager PyTorch.

`python -m benchmarks.smac [--quick]`. Drawing the batch is part of an update on both sides, with
the same code; reading the losses back is too. Everything is fp32. The arms' sizes are in
`benchmarks.wide`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import torch

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.products import products_of, total_gflop
from benchmarks.smac_sides import SIZES, Data, Side, last_layers, make_ours, make_plain, reference
from benchmarks.turns import Effort, cores, in_turns
from fieldtune.train.runs.readings import numbers

OURS, PLAIN = "Fieldtune", "plain eager PyTorch"
PRODUCTS = "the same matrix products alone"
PEAK = "their operations at the best rate of a large product"
LAST = "the critics' last layers among them"
NO_GPU = {"one GPU": "no GPU here"}
TOLERANCE = 1e-9  # in double precision, of losses and weights


def same_updates(updates: int = 5, size: str = "authors") -> str:
    """Train both from the same weights on the same draws with the same noise, in double precision:
    Adam's first steps are as long for a gradient of rounding errors as for any other.

    Raises `AssertionError` where a loss or a weight differs by more than rounding.
    """
    data = Data(tasks=6, episodes=1, config=reference(*SIZES[size]))
    ours = make_ours(data.config)
    ours.agent.double()
    plain = make_plain(ours.agent, data.config)
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


def gflop(size: str = "authors") -> tuple[float, float]:
    """Of one update's matrix products, and of the critics' last layers among them, in 10⁹
    operations."""
    data = Data(tasks=6, episodes=1, config=reference(*SIZES[size]))
    ours = make_ours(data.config)
    products = products_of(lambda: ours.update(*data.draw()))
    return total_gflop(products), total_gflop(last_layers(products, data.config))


def rates(
    sides: Mapping[str, str], size: str, threads: int, device: str, effort: Effort
) -> dict[str, list[float]]:
    """Updates a second of each of `sides` (`benchmarks.smac_sides`), by its label, in turns."""
    with ExitStack() as closing:
        runs = {}
        for label, name in sides.items():
            side = Side(name, threads, device, size)
            closing.callback(side.close)
            runs[label] = partial(side.turn, effort.choose(2.0, 0.01))
        return in_turns(runs, effort.rounds)


def where(threads: int, device: str = "cpu") -> str:
    return f"{threads} thread{'s' * (threads > 1)}" if device == "cpu" else "one GPU"


def measure_on(threads: int, device: str, effort: Effort, operations: float, check: str) -> Table:
    """One table: sides with the same number of threads, on a CPU or a GPU."""
    sides: dict[str, tuple[str, Role]] = {OURS: ("ours", "ours"), PLAIN: ("plain", "theirs")}
    if device == "cpu":
        sides |= {PRODUCTS: ("products", "floor"), PEAK: ("peak", "floor")}
    names = {label: name for label, (name, _) in sides.items()}
    found = rates(names, "authors", threads, device, effort)
    if PEAK in found:
        found[PEAK] = [gflops / operations for gflops in found[PEAK]]
    goals = [Goal("≥ 2× eager", OURS, PLAIN, at_least=2.0)]
    if device == "cpu":
        goals.append(Goal("≥ 70 % of the matrix products alone", OURS, PRODUCTS, at_least=0.7))
    else:
        goals = [Goal("≥ 5× eager", OURS, PLAIN, at_least=5.0)]
    return Table(
        title=f"SMAC updates, {where(threads, device)}",
        unit="updates/s",
        conditions=(
            f"meta-batch 4 × 256, MLP 300×3, twin critics, fp32, {operations:.2f} GFLOP an update; "
            f"{where(threads, device)} on every side, each in a process of its own: ours in the "
            "launcher's environment, the plain one in a default one"
        ),
        series=[Series(label, sides[label][1], values) for label, values in found.items()],
        goals=goals,
        checks=[check],
        skipped=NO_GPU if device == "cpu" and not torch.cuda.is_available() else {},
    )


def measure_last(size: str, named: str, effort: Effort) -> Table:
    """What the critics' last layers, of one output each, take of an update's products."""
    sides = {OURS: "ours", PRODUCTS: "products", LAST: "last"}
    found = rates(sides, size, 1, "cpu", effort)
    whole, last = gflop(size)
    roles: dict[str, Role] = {OURS: "ours", PRODUCTS: "floor", LAST: "floor"}
    return Table(
        title=f"The critics' last layers, {named}, {where(1)}",
        unit="ms an update",
        conditions=(
            f"the last layers of both critics and their targets, forward and backward: "
            f"{last / whole:.2%} of the operations of all products of an update"
        ),
        series=[
            Series(label, roles[label], [1e3 / rate for rate in values])
            for label, values in found.items()
        ],
        higher_is_better=False,
    )


def measure(effort: Effort) -> Iterator[Table]:
    """One thread, which is the default; every core; a GPU where there is one."""
    check, (operations, _) = same_updates(), gflop()
    for threads in effort.choose(sorted({1, cores()}), [1]):
        yield measure_on(threads, "cpu", effort, operations, check)
    if torch.cuda.is_available():
        yield measure_on(1, "cuda", effort, operations, check)
    yield measure_last("authors", "300 wide", effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
