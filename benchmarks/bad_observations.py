"""A thousand bad observations, in real time: how soon after its deadline is the robot held?

Run as `python benchmarks/bad_observations.py`. Each trial is an episode of the real loop, with its
limits, threads and clock, on a robot whose sensor breaks at a random step: a number that is none,
the same observation again (time and all), the same values under new times, or ever later ones. The
deadline is when the rule says enough: at the broken read, when the age limit is over, or after
`frozen_periods`. A command after the deadline's own period would be a failure.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import LimitsConfig, RealtimeConfig, ZHold
from fieldtune.robot.drivers.driver import Observation
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Mode
from fieldtune.robot.loop.control_loop import run_episode
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts
from fieldtune.robot.loop.states import State, States
from fieldtune.robot.policy.exploration import ZSource
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.timing.clock import Clock
from fieldtune.robot.timing.realtime import realtime

KINDS = ("nan", "repeated", "frozen", "late")
BUSY = "busy"
FROZEN_PERIODS = 4
FIELDS = (FieldSpec(name="position", unit="m", low=(-math.inf,), high=(math.inf,)),)
ACTIONS = (FieldSpec(name="force", unit="N", low=(-1.0,), high=(1.0,)),)


class BreakingRobot:
    """A position that always moves, whose sensor breaks as `kind` at read number `step`."""

    robot, observation_fields, action_fields, time_scale = "mass", FIELDS, ACTIONS, 1.0

    def __init__(self, period_s: float, kind: str, step: int) -> None:
        self.period_s, self._kind, self._step = period_s, kind, step
        self._seen: list[Observation] = []
        self.applied_ns: list[int] = []
        self.read_ns: list[int] = []
        self.held_ns = 0

    def read(self) -> Observation:
        now, reads = time.monotonic_ns(), len(self._seen)
        self.read_ns.append(now)
        good = Observation(np.array([float(reads)]), now)
        last = self._seen[self._step - 1] if reads >= self._step else good
        broken = {
            "nan": Observation(np.array([math.nan]), now),
            "repeated": last,
            "frozen": Observation(last.values, now),
            "late": Observation(good.values, last.sense_ns),
        }[self._kind]
        self._seen.append(good if reads < self._step else broken)
        return self._seen[-1]

    def apply(self, action: Any) -> Any:
        self.applied_ns.append(time.monotonic_ns())
        return action

    def hold(self) -> None:
        self.held_ns = self.held_ns or time.monotonic_ns()

    def deadline_ns(self, age_s: float) -> int | None:
        """When the rule says enough; None where the machine stood still for too long before that,
        which is a fault of its own."""
        if self._kind in ("nan", "frozen"):
            enough = self._step + (FROZEN_PERIODS - 1) * (self._kind == "frozen")
            return self.read_ns[enough] if len(self.read_ns) > enough else None
        if len(self._seen) < self._step:
            return None
        return self._seen[self._step - 1].sense_ns + round(age_s * 1e9)


class Nothing:
    """A policy and a recorder that take no time: it is the loop that is looked at."""

    def act(self, *_: Any) -> Any:
        return np.zeros(1)

    def begin(self, _: Any) -> None: ...

    def put(self, _: Any) -> None: ...

    def end(self, _: Any) -> None: ...


def trials(count: int, period_s: float, age_s: float, seed: int) -> Iterator[tuple[str, float]]:
    """Each trial's kind, and how many periods after its deadline the robot was held.

    One in which this machine stood still before the sensor broke is told as `BUSY`, and repeated.
    """
    rng, nothing, parts = np.random.default_rng(seed), Nothing(), None
    limits = build_limits(
        LimitsConfig(observation_age_s=age_s, frozen_periods=FROZEN_PERIODS),
        observation_fields=FIELDS,
        robot_action_fields=ACTIONS,
        policy_action_fields=ACTIONS,
        period_s=period_s,
    )
    number = 0
    while number < count:
        kind = KINDS[number % len(KINDS)]
        robot = BreakingRobot(period_s, kind, int(rng.integers(1, 8)))
        states = States()
        states.to(State.ARMED)
        kept: dict[str, Any] = (
            {} if parts is None else {"report": parts.report, "collections": parts.collections}
        )
        clock: Any = Clock(period_s)
        parts = LoopParts(robot, nothing, limits, nothing, clock, states, **kept)  # type: ignore[arg-type]
        header = EpisodeHeader(
            robot="mass",
            family="none",
            boot_session="",
            number=number,
            trial=0,
            bundle_id="",
            mode=Mode.PRIOR,
            seed=0,
            started_ns=0,
            period_s=period_s,
        )
        z = ZSource(GaussianPosterior.prior(1), ZHold.EPISODE, rng)
        spec = EpisodeSpec(header, 1000, z, None, lambda *_: None, lambda: "")
        outcome = run_episode(parts, spec)
        assert outcome.reason is EndReason.FAULT, (kind, outcome)
        deadline = robot.deadline_ns(age_s)
        if deadline is None:
            yield BUSY, 0.0
            continue
        number += 1
        assert all(at <= deadline + period_s * 1e9 for at in robot.applied_ns), kind
        yield kind, (robot.held_ns - deadline) / 1e9 / period_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--period-s", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    options = parser.parse_args()
    age_s = 3.5 * options.period_s
    found: dict[str, list[float]] = {kind: [] for kind in (*KINDS, BUSY)}
    with realtime(RealtimeConfig(), 1.0):
        for kind, periods in trials(options.count, options.period_s, age_s, options.seed):
            found[kind].append(periods)
    rows = {}
    print(
        f"{len(found.pop(BUSY))} trials repeated: this machine stood still before the sensor broke"
    )
    for kind, late in found.items():
        rows[kind] = {
            "injections": len(late),
            "within_a_period": int(np.sum(np.array(late) <= 1)),
            **{f"p{share}": round(float(np.percentile(late, share)), 4) for share in (50, 99)},
            "max": round(max(late), 4),
        }
        print(f"{kind:>9}: {rows[kind]}")
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if any(row["within_a_period"] != row["injections"] for row in rows.values()):
        raise SystemExit("not every robot was held within a period of its deadline")


if __name__ == "__main__":
    main()
