"""Slow waves within an action's bounds: motion for trying things out, without knowing the robot.

The built-in script `waves`, and what a simulated person's hand does. Pure but for where it is in
its waves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.export.manifest import FieldSpec

Array = NDArray[np.float64]

WITHIN = 0.5  # of the way from the middle to the bounds
SLOWEST_HZ, FASTEST_HZ = 0.2, 0.8


class Waves:
    """Each component of an action on a wave of its own about the middle of its bounds.

    Implements `fieldtune.robot.actions.sources.Script`. Raises `UserError` where an action has no
    bounds.
    """

    def __init__(
        self,
        observation_fields: Sequence[FieldSpec],  # noqa: ARG002 (blind)
        action_fields: Sequence[FieldSpec],
        period_s: float,
    ) -> None:
        low = np.array([value for field in action_fields for value in field.low])
        high = np.array([value for field in action_fields for value in field.high])
        if not np.isfinite([low, high]).all():
            raise UserError(
                "the script `waves` moves within the bounds of actions, and some have none here: "
                "choose another script, or bound them"
            )
        self._middle, self._amplitude = (low + high) / 2, WITHIN * (high - low) / 2
        self._period_s = period_s
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Draw frequencies and phases anew; the same seed gives the same waves."""
        rng = np.random.default_rng(seed)
        self._turns_s = rng.uniform(SLOWEST_HZ, FASTEST_HZ, len(self._middle))
        self._phase = rng.uniform(0.0, 1.0, len(self._middle))
        self._step = 0

    def act(self, observation: Array | None = None) -> Array:  # noqa: ARG002
        """The action of the next control period, `(action,)`."""
        turns = self._phase + self._turns_s * self._step * self._period_s
        self._step += 1
        return self._middle + self._amplitude * np.sin(2 * np.pi * turns)
