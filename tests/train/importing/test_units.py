"""Units, ranges and rotations: there and back, and what is no rotation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fieldtune.train.importing.units import ANGLES, between, convertible, factor, turned

BASES = ("m", "rad", "m/s", "rad/s", "N", "kg", "s")
KNOWN = [unit for base in BASES for unit in convertible(base)]
WHOLE = ("wxyz", "xyzw", "matrix", "rotvec", "rpy")
few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def test_units_are_what_the_world_says_they_are():
    known = {("deg", "rad"): np.pi / 180, ("mm", "m"): 1e-3, ("rpm", "rad/s"): 2 * np.pi / 60,
             ("km/h", "m/s"): 1 / 3.6, ("turns", "degrees"): 360.0, ("in", "mm"): 25.4}  # fmt: skip
    for (unit, wanted), expected in known.items():
        assert factor(unit, wanted) == pytest.approx(expected)
    assert factor("mm", "rad") is None
    assert factor("furlongs", "m") is None
    assert factor("furlongs", "furlongs") == 1.0


@few
@given(st.sampled_from(KNOWN), st.data())
def test_a_unit_there_and_back_is_the_same(unit, data):
    other = data.draw(st.sampled_from(convertible(unit)))
    assert factor(unit, other) * factor(other, unit) == pytest.approx(1.0)


@few
@given(seeds, st.sampled_from(WHOLE), st.sampled_from(WHOLE))
def test_a_rotation_there_and_back_is_the_same_rotation(seed, data, family):
    rows = turned(Rotation.random(3, random_state=seed).as_quat(), "xyzw", data)
    again = turned(turned(rows, data, family), family, "matrix")
    np.testing.assert_allclose(again, turned(rows, data, "matrix"), atol=1e-6)


@few
@given(seeds)
def test_a_quaternion_is_only_put_in_order(seed):
    theirs = Rotation.random(4, random_state=seed).as_quat() * [[1], [-1], [1], [-1]]
    np.testing.assert_array_equal(turned(theirs, "xyzw", "wxyz"), theirs[:, [3, 0, 1, 2]])
    np.testing.assert_array_equal(turned(theirs, "wxyz", "wxyz"), theirs)


@few
@given(st.floats(-3.1, 3.1), st.sampled_from(ANGLES))
def test_one_angle_of_a_turn_about_its_axis_is_that_turn(angle, name):
    angle = angle / 2.1  # pitch is within a quarter turn
    rpy = np.zeros((1, 3))
    rpy[0, ANGLES.index(name)] = angle
    assert turned(rpy, "rpy", name)[0, 0] == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        (np.zeros((1, 4)), "wxyz"),
        (np.full((1, 4), np.nan), "xyzw"),
        (np.ones((1, 4)), "xyzw"),
        (np.zeros((1, 9)), "matrix"),
        (np.diag([1.0, 1.0, -1.0]).reshape(1, 9), "matrix"),
    ],
)
def test_what_is_no_rotation_is_refused(rows, data):
    with pytest.raises(ValueError, match="row 0 is"):
        turned(rows, data, "wxyz")


@few
@given(st.floats(0, 1))
def test_a_gripper_that_counts_the_other_way(share):
    opening = np.array([[share]])
    assert between(opening, (0.0, 1.0), (1.0, -1.0)) == pytest.approx(1 - 2 * share)
    assert between(0.08 * opening, (0.0, 0.08), (1.0, -1.0)) == pytest.approx(1 - 2 * share)
