"""What cheetah-vel's gap costs to close, against the reference preset's least possible.

`python -m benchmarks.lean [--quick]`. Times one update of each phase with either preset, and counts
how many the lean one needed for 90 % of the gap in docs/results/cheetah-vel-likelihood, by each of
the two inferences. The reference preset takes days here, so nobody knows where it stands when; but
before its first iteration is over no label has taught it anything, and that much is counted.
Gradient steps with their draws, on one thread; collecting and exploring are in neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import torch

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.smac_sides import Data, make_ours, reference
from benchmarks.turns import Effort, in_turns
from fieldtune.train.config import Inference, RunConfig
from fieldtune.train.data.sampling import draw_offline, draw_union
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.presets import UPDATES_AN_ITERATION, authors_iterations

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "results" / "cheetah-vel-likelihood" / "metrics.json"
CURVES: dict[Inference, tuple[str, str]] = {
    "likelihood": ("likelihood_curves", "trained"),
    "encoder": ("curves", "trained-encoder"),
}
"""Of the study: where those that explore and are measured by an inference stand in its figures."""
SHARE = 0.9
LEAN: dict[Inference, str] = {
    "likelihood": f"lean, to {SHARE:.0%} of the gap by likelihood",
    "encoder": f"lean, to {SHARE:.0%} of the gap by the encoder",
}
FIRST, WHOLE = (
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
        # Where z is inferred by likelihood, no context of phase 2 is of exploration.
        context = config.offline.context if config.inference == "likelihood" else None
        self._offline = lambda: smac.update(*draw_offline(replay, rng, algorithm, config.offline))
        self._self_supervised = lambda: smac.self_supervised_update(
            *draw_union(replay, replay, rng, algorithm, phase_2, context), phase_2
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
    likelihood_curves: dict[str, _Curve]


def steps_to(share: float, inference: Inference) -> tuple[int, int, int]:
    """The first reward-free steps at which the committed study had closed so much of the gap, of
    how many, over how many seeds.

    Args:
        share: of the gap from before phase 2 to the oracle, both by that inference.
        inference: of exploration and of evaluation.

    Raises:
        ValueError: it never had.
    """
    study = msgspec.json.decode(STUDY.read_bytes(), type=_Study)
    curves, method = CURVES[inference]
    curve: _Curve = getattr(study, curves)[method]
    for steps, closed in zip(curve.steps, curve.gap_closed, strict=True):
        if closed is not None and closed.value >= share:
            return int(steps), int(curve.steps[-1]), study.seeds
    raise ValueError(f"{STUDY}: by {inference} it never closed {share:.0%} of the gap")


def measure(effort: Effort) -> Iterator[Table]:
    """One table."""
    torch.set_num_threads(1)
    full, count = reference(), effort.choose(60, 1)
    phase_1, phase_2 = full.offline.updates, full.self_supervised.updates
    first, theirs = UPDATES_AN_ITERATION, Costs(full)
    runs: dict[str, Callable[[], float]] = {}
    counted = []
    for inference, label in LEAN.items():
        lean = load_config(
            ROOT / "configs" / "cheetah-vel.yaml", overrides=[f"inference={inference}"]
        )
        steps, of, seeds = steps_to(SHARE, inference)
        needed = round(lean.self_supervised.updates * steps / of)
        runs[label] = partial(Costs(lean).of, lean.offline.updates, needed, 4 * count)
        counted.append(
            f"by {inference} {lean.offline.updates:,} + {needed:,}, since {steps:,} of {of:,} "
            f"reward-free steps closed {SHARE:.0%} of its gap"
        )
    runs[FIRST] = partial(theirs.of, phase_1, first, count)
    runs[WHOLE] = partial(theirs.of, phase_1, phase_2, count)
    found = in_turns(runs, effort.choose(5, 1))
    ours = set(LEAN.values())
    roles: dict[str, Role] = {label: "ours" if label in ours else "theirs" for label in runs}
    yield Table(
        title="A study's updates, cheetah-vel, 1 thread",
        unit="s",
        conditions=(
            f"seconds an update, measured, times updates: lean {'; '.join(counted)} "
            f"({seeds} seeds, docs/results/cheetah-vel-likelihood); reference {phase_1:,} + "
            f"{first:,} until its first labels have been learned from, {phase_2:,} in all. The "
            "reference was not run to its end, so that its return is not compared"
        ),
        series=[Series(label, roles[label], values) for label, values in found.items()],
        higher_is_better=False,
        goals=[
            Goal(
                f"by {inference} ≤ 1/20 of the reference's least possible",
                label,
                FIRST,
                at_most=0.05,
            )
            for inference, label in LEAN.items()
        ],
    )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
