"""Environment steps a second of the locomotion families, all observations read at every step.

`python -m benchmarks.locomotion [--quick]`. Every side is reset untimed and then stepped with the
same kind of random actions, over a stretch in which nobody falls, since a fallen robot is not
stepped on our side and costs other contacts on the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.alone import main
from benchmarks.bare_physics import NoCompiler
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.locomotion_sides import (
    Bare,
    Gymnasium,
    Ours,
    Row,
    drawn_actions,
    same_as_bare,
    same_as_envpool,
    same_as_gymnasium,
    timed,
)
from benchmarks.pool import EnvPool, NoEnvPool
from benchmarks.turns import Effort, cores, in_turns
from fieldtune.sim.registry import family

COPIES = 64
PROCESSES = 16  # gymnasium's asynchronous environment starts one a copy


ROWS = (
    Row("cheetah-vel", "HalfCheetah-v5", 5, 200, 1.0),
    Row("ant-dir", "Ant-v5", 5, 50, 0.5, contact_forces=True, falls=True),
    Row("humanoid-dir", "Humanoid-v5", 5, 15, 0.5, contact_forces=True, falls=True),
)


def measure_row(row: Row, effort: Effort, copies: int = COPIES) -> Table:
    """One family against gymnasium, EnvPool and bare physics."""
    one, threads = family(row.family), cores()
    actions = drawn_actions(row, one, copies)
    processes = effort.choose(PROCESSES, 2)
    names = Names(threads)
    runs: dict[str, Callable[[], float]] = {}
    skipped: dict[str, str] = {}
    checks: list[str] = []
    with ExitStack() as closing:
        ours = Ours(one, copies, threads, actions)
        closing.callback(ours.close)
        single = Ours(one, copies, 1, actions)
        closing.callback(single.close)
        stepped = partial(timed, count=row.steps * copies, seconds=effort.seconds)
        runs[names.ours] = partial(stepped, ours)
        runs[names.single] = partial(stepped, single)

        sync = Gymnasium(row, copies, "sync", actions)
        closing.callback(sync.close)
        runs[names.sync] = partial(stepped, sync)
        spread_out = Gymnasium(row, processes, "async", actions)
        closing.callback(spread_out.close)
        runs[names.apart] = partial(
            timed, spread_out, count=row.steps * processes, seconds=effort.seconds
        )
        checks.append(same_as_gymnasium(ours, sync))

        try:
            bare = Bare(row, ours, threads, actions)
            runs[names.bare] = partial(stepped, bare)
            checks.append(same_as_bare(ours, bare))
        except NoCompiler as error:
            skipped[names.bare] = str(error)
        try:
            pool = EnvPool(
                row.environment, copies, threads, row.steps, row.amplitude, **row.options
            )
            closing.callback(pool.close)
            runs[names.pool] = partial(pool.rate, effort.seconds)
            checks.append(same_as_envpool(row, one, threads))
        except NoEnvPool as error:
            skipped[names.pool] = str(error)
        found = in_turns(runs, effort.rounds)
    return Table(
        title=f"Environment steps, {row.family}",
        unit="steps/s",
        conditions=(
            f"{copies} copies ({processes} processes for gymnasium's asynchronous ones), "
            f"{row.steps} control steps from a reset, which is not timed; {threads} threads "
            f"(gymnasium's synchronous loop has one); {row.substeps} physics steps each"
        ),
        series=[Series(label, names.role(label), values) for label, values in found.items()],
        goals=[
            Goal("≥ 1.15× EnvPool", names.ours, names.pool, at_least=1.15),
            Goal("≥ 90 % of bare mj_step", names.ours, names.bare, at_least=0.9),
        ],
        checks=checks,
        skipped=skipped,
    )


class Names:
    """How the sides are called on the page."""

    def __init__(self, threads: int) -> None:
        self.ours = f"Fieldtune, {threads} threads"
        self.single = "Fieldtune, 1 thread (the default)"
        self.sync = "gymnasium, synchronous"
        self.apart = "gymnasium, asynchronous"
        self.pool = f"EnvPool, {threads} threads"
        self.bare = f"bare mj_step in C, {threads} threads"

    def role(self, label: str) -> Role:
        if label in (self.ours, self.single):
            return "ours"
        return "floor" if label == self.bare else "theirs"


def measure(effort: Effort) -> Iterator[Table]:
    """Every family."""
    for row in ROWS:
        yield measure_row(row, effort, effort.choose(COPIES, 4))


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
