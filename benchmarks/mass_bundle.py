"""The bundle that the chain of masses is driven by, where benchmarks run the daemon."""

from __future__ import annotations

from pathlib import Path

from benchmarks import mass_robot
from benchmarks.cycle import make_bundle


def make_mass_bundle(path: Path, period_s: float, horizon: int) -> None:
    """Write one to `path`, for control periods of `period_s` and episodes of `horizon` steps."""
    make_bundle(
        path,
        family=mass_robot.FAMILY,
        robot=mass_robot.ROBOT,
        observation_fields=mass_robot.OBSERVATIONS,
        action_fields=mass_robot.ACTIONS,
        period_s=period_s,
        horizon=horizon,
    )
