"""What cheetah-vel's gap costs to close, against the reference preset's least possible.

`python -m benchmarks.lean [--quick]`. Times one update of each phase with either preset, and counts
how many the lean one needed for 90 % of the gap in docs/results/cheetah-vel. The reference preset
takes days here, so nobody knows where it stands when; but before its first iteration is over no
label has taught it anything, and that much is counted. Gradient steps with their draws, on one
thread; collecting and exploring are in neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import torch

from benchmarks.alone import main
from benchmarks.figures import Goal, Series, Table
from benchmarks.smac_sides import Data, make_ours, reference
from benchmarks.turns import Effort, in_turns
from fieldtune.train.config import RunConfig
from fieldtune.train.data.sampling import draw_offline, draw_union
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.presets import UPDATES_AN_ITERATION, authors_iterations

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "results" / "cheetah-vel" / "metrics.json"
SHARE = 0.9
LEAN, FIRST, WHOLE = (
    f"lean, to {SHARE:.0%} of the gap",
    f"reference, to the end of its first iteration of {authors_iterations('cheetah-vel')}",
    "reference, all of it",
)


class Costs:
    """Seconds that an update of each phase takes with one configuration."""

    def __init__(self, config: RunConfig) -> None:
        data = Data(config=config)
        smac = make_ours(config)
        algorithm, replay, rng = config.algorithm, data.replay, data.rng
        phase_2 = config.self_supervised
        self._offline = lambda: smac.update(*draw_offline(replay, rng, algorithm, config.offline))
        self._self_supervised = lambda: smac.self_supervised_update(
            *draw_union(replay, replay, rng, algorithm, phase_2), phase_2
        )

    def of(self, offline: int, self_supervised: int, updates: int) -> float:
        """Seconds for so many updates of each phase, from the mean over `updates` of each."""
        return offline * _mean(self._offline, updates) + self_supervised * _mean(
            self._self_supervised, updates
        )


def _mean(update: Callable[[], object], updates: int) -> float:
    started = time.perf_counter()
    for _ in range(updates):
        update()
    return (time.perf_counter() - started) / updates


class _Interval(msgspec.Struct):
    value: float


class _Curve(msgspec.Struct):
    steps: list[float]
    gap_closed: list[_Interval | None]


class _Study(msgspec.Struct):
    seeds: int
    curves: dict[str, _Curve]


def steps_to(share: float) -> tuple[int, int, int]:
    """The first reward-free steps at which the committed study had closed so much of the gap, of
    how many, over how many seeds. Raises `ValueError` where it never had."""
    study = msgspec.json.decode(STUDY.read_bytes(), type=_Study)
    curve = study.curves["trained"]
    for steps, closed in zip(curve.steps, curve.gap_closed, strict=True):
        if closed is not None and closed.value >= share:
            return int(steps), int(curve.steps[-1]), study.seeds
    raise ValueError(f"{STUDY}: never closed {share:.0%} of the gap")


def measure(effort: Effort) -> Iterator[Table]:
    """One table."""
    torch.set_num_threads(1)
    lean = load_config(ROOT / "configs" / "cheetah-vel.yaml")
    steps, of, seeds = steps_to(SHARE)
    needed = round(lean.self_supervised.updates * steps / of)
    full, count = reference(), effort.choose(60, 1)
    ours, theirs = Costs(lean), Costs(full)
    phase_1, phase_2 = full.offline.updates, full.self_supervised.updates
    first = UPDATES_AN_ITERATION
    runs = {
        LEAN: lambda: ours.of(lean.offline.updates, needed, 4 * count),
        FIRST: lambda: theirs.of(phase_1, first, count),
        WHOLE: lambda: theirs.of(phase_1, phase_2, count),
    }
    found = in_turns(runs, effort.choose(5, 1))
    yield Table(
        title="A study's updates, cheetah-vel, 1 thread",
        unit="s",
        conditions=(
            f"seconds an update, measured, times updates: lean {lean.offline.updates:,} + "
            f"{needed:,}, since {steps:,} of {of:,} reward-free steps closed {SHARE:.0%} "
            f"({seeds} seeds, docs/results/cheetah-vel); reference {phase_1:,} + {first:,} until "
            f"its first labels have been learned from, {phase_2:,} in all. The reference was not "
            "run to its end, so that its return is not compared"
        ),
        series=[
            Series(label, "ours" if label == LEAN else "theirs", values)
            for label, values in found.items()
        ],
        higher_is_better=False,
        goals=[Goal("≤ 1/20 of the reference's least possible", LEAN, FIRST, at_most=0.05)],
    )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
