"""pick-place is about the right block, at the right place, put down."""

import numpy as np
import pytest

from fieldtune.sim.manipulation.families.pick_place import (
    HALF,
    LEDGE_X,
    SHELF_HEIGHT,
    PickPlaceFamily,
)

FAMILY = PickPlaceFamily()
REST = FAMILY.arm.table_height + SHELF_HEIGHT + HALF


def seen(red: tuple[float, float, float], blue: tuple[float, float, float]) -> np.ndarray:
    observation = np.zeros(38)
    observation[21:24], observation[28:31] = red, blue
    return observation


@pytest.mark.parametrize(
    ("red", "expected"),
    [
        ((LEDGE_X, 0.10, REST), True),
        ((LEDGE_X, 0.16, REST), False),  # beside its place
        ((LEDGE_X, 0.10, REST + 0.05), False),  # still held
        ((LEDGE_X, 0.10, REST - SHELF_HEIGHT), False),  # on the table
    ],
)
def test_the_block_must_rest_at_its_place(red: tuple[float, float, float], expected: bool) -> None:
    observation = seen(red, (0.5, 0.0, REST))
    assert bool(FAMILY.success(observation, np.array([0.0, 0.1]))) is expected
    assert not FAMILY.success(observation, np.array([1.0, 0.1]))


def test_the_red_block_starts_on_either_side() -> None:
    sides = [FAMILY.start(seed, np.array([0.0, 0.1])).blocks[0, 1] > 0 for seed in range(40)]
    assert 5 < sum(sides) < 35
