"""Episodes that are over as soon as they begin: so many in a row are a fault of the robot's start.

Counts, and says why. It must not know drivers, bundles, nor what becomes of a fault.
"""

from __future__ import annotations

EMPTY_EPISODES = 3  # in a row: then something is wrong with the robot's start
SHORT_EPISODES = 5  # in a row, of fewer steps than this, and than a tenth of the horizon:
SHORT_STEPS = 5  # from a sound start, the worst actions take 6 to have a simulated walker fall


class ShortEpisodes:
    """How many came in a row, of no step and of few."""

    def __init__(self) -> None:
        self._empty = self._short = 0

    def add(self, steps: int) -> str:
        """Count one more; why that is a fault, or empty while it is none."""
        self._empty = 0 if steps else self._empty + 1
        self._short += 1
        if self._empty == EMPTY_EPISODES:
            return (
                f"{EMPTY_EPISODES} episodes in a row were over at their first observation: the "
                "driver says `terminated` right after home(): check the robot's start, or what the "
                "driver takes for a terminal state"
            )
        if self._short == SHORT_EPISODES:
            return (
                f"{SHORT_EPISODES} episodes in a row were over after fewer than {SHORT_STEPS} "
                f"steps, the last after {steps}: the driver says `terminated` as soon as the robot "
                "moves: check the robot's start, or what the driver takes for a terminal state"
            )
        return ""

    def forget(self) -> None:
        """An episode that was worth its homing came in between."""
        self._empty = self._short = 0


def is_short(steps: int, horizon: int) -> bool:
    """Whether an episode that was terminated cannot have been worth its homing."""
    return steps == 0 or steps < min(SHORT_STEPS, horizon / 10)
