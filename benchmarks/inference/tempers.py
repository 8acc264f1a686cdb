"""Ablation of what a transition's log-likelihood counts, and of acting by the weighted mean.

Each temper explores by its own weights.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.inference.beliefs import Belief, Pick, explore, first, judged
from benchmarks.inference.bench import NUMBERS, Bench
from benchmarks.inference.tables import Row, Table

TEMPERS = (1.0, 0.3, 0.1, 0.03, 0.01)
PICKS: tuple[Pick, ...] = ("likeliest", "mean")


def temper(bench: Bench) -> Table:
    """The measured one, then others, each with either way of acting."""
    measured = bench.particles.temper
    tried = {"measured": measured} | {f"{value:g}": value for value in TEMPERS}
    rows = []
    for name, value in tried.items():
        particles = replace(bench.particles, temper=value)
        _, after = explore(bench, Belief.of(bench, particles))
        facts = {f"particles that count, K = {k}": after[k - 1].effective for k in NUMBERS}
        for pick in PICKS:
            cells = judged(bench, [replace(one, pick=pick) for one in after])
            within = first(bench, Belief.of(bench, particles, pick=pick))
            rows.append(Row.of(f"{name}: {pick}", {**cells, **within}, {"temper": value, **facts}))
    return Table("Temper, and acting by the likeliest particle or the mean", bench.measure, rows)
