"""A loop at a bundle's own rate in Python: observe, check, act, limit, and keep nothing.

`python -m benchmarks.resident_side BUNDLE CYCLES`. What servers/cpp/examples/control_loop.cpp does,
by the robot's own code and with its priority; no journal, no driver, no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.bundle_limits import limits_of
from fieldtune.export.bundle import read_bundle
from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.limits import allow, check_observation
from fieldtune.robot.timing.clock import Clock
from fieldtune.robot.timing.realtime import realtime

KNOWN = 997  # observations to choose from


def run(path: Path, cycles: int) -> None:
    bundle = read_bundle(path)
    known, limits, policy = bundle.manifest, limits_of(bundle), Policy(bundle)
    rng, z = np.random.default_rng(0), np.full(known.latent_size, 0.1)
    seen = 0.1 * rng.standard_normal((KNOWN, known.observation_width))
    previous = before = np.zeros(known.action_width)
    left_out = 0
    with realtime(RealtimeConfig(), 1.0):
        deadlines = Clock(known.period_s).deadlines()
        for cycle, deadline in zip(range(cycles), deadlines, strict=False):
            left_out += deadline.skipped
            observation = seen[cycle % KNOWN].copy()
            check_observation(observation, 0.0, limits)
            action = policy.act(observation, z)
            allowed, _ = allow(action, previous, observation, limits, known.period_s, before)
            before, previous = previous, allowed
    print(f"cycles {cycles}; periods left out {left_out}")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
