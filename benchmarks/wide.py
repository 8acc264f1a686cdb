"""SMAC's offline updates a second at the arms' sizes, in float32 and in bfloat16, on a CPU.

`python -m benchmarks.wide [--quick]`. As `benchmarks.smac`, with other sizes; `bfloat16` is the key
`algorithm.precision`, and computes less precisely by design, so that it is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.smac import (
    OURS,
    PEAK,
    PLAIN,
    PRODUCTS,
    gflop,
    measure_last,
    rates,
    same_updates,
    where,
)
from benchmarks.turns import Effort, cores

FLOAT32, BFLOAT16 = f"{OURS}, float32", f"{OURS}, bfloat16"
SIDES: dict[str, tuple[str, Role]] = {
    FLOAT32: ("ours", "ours"),
    BFLOAT16: ("bfloat16", "ours"),
    PLAIN: ("plain", "theirs"),
    PRODUCTS: ("products", "floor"),
    PEAK: ("peak", "floor"),
}


def measure_on(threads: int, effort: Effort, operations: float, check: str) -> Table:
    """One table: every side with as many threads."""
    names = {label: name for label, (name, _) in SIDES.items()}
    found = rates(names, "arms", threads, "cpu", effort)
    found[PEAK] = [gflops / operations for gflops in found[PEAK]]
    return Table(
        title=f"SMAC updates, wide, {where(threads)}",
        unit="updates/s",
        conditions=(
            f"meta-batch 8 × 128, policy and twin critics 512×3 with layer norm in the critics, "
            f"{operations:.2f} GFLOP an update, products and plain PyTorch in float32; "
            f"{where(threads)} on every side, each in a process of its own"
        ),
        series=[Series(label, SIDES[label][1], values) for label, values in found.items()],
        goals=[Goal("≥ 70 % of the matrix products alone", FLOAT32, PRODUCTS, at_least=0.7)],
        checks=[check],
    )


def measure(effort: Effort) -> Iterator[Table]:
    """One thread, which is the default, and every core; what the critics' last layers take."""
    check, (operations, _) = same_updates(size="arms"), gflop("arms")
    for threads in effort.choose(sorted({1, cores()}), [1]):
        yield measure_on(threads, effort, operations, check)
    yield measure_last("arms", "512 wide", effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
