"""The limits of a bundle that a benchmark made.

Imports no torch, so that a process whose memory is measured stays small.
"""

from __future__ import annotations

from fieldtune.export.bundle import Bundle
from fieldtune.robot.config import LimitsConfig
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.limits import Limits


def limits_of(bundle: Bundle) -> Limits:
    """The bundle's own bounds, and nothing more."""
    known = bundle.manifest
    return build_limits(
        LimitsConfig(),
        observation_fields=known.observation_fields,
        robot_action_fields=known.action_fields,
        policy_action_fields=known.action_fields,
        period_s=known.period_s,
    )
