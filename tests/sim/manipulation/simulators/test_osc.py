"""The compiled control law agrees with robosuite's plain one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldtune.sim.manipulation.simulators.osc import (
    _add_orientation_error,
    _factor,
    _solve,
    _torques,
)

pytestmark = pytest.mark.slow


def inertia(rng: np.random.Generator, n: int) -> np.ndarray:
    root = rng.normal(size=(n, n))
    return root @ root.T + 0.5 * np.eye(n)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 7))
def test_solving_with_the_factor_inverts_the_matrix(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, vector = inertia(rng, n), rng.normal(size=n)
    factor, solved = matrix.copy(), vector.copy()
    _factor(factor, n)
    _solve(factor, n, solved)
    np.testing.assert_allclose(matrix @ solved, vector, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_torques_equal_robosuites_formulas(seed: int) -> None:
    from robosuite.utils.control_utils import nullspace_torques, opspace_matrices

    rng = np.random.default_rng(seed)
    mass, jacobian, wrench = inertia(rng, 7), rng.normal(size=(6, 7)), rng.normal(size=6)
    rest, velocity = rng.normal(size=(2, 7))
    _, position, orientation, nullspace = opspace_matrices(
        mass, jacobian, np.ascontiguousarray(jacobian[:3]), np.ascontiguousarray(jacobian[3:])
    )
    expected = jacobian.T @ np.concatenate([position @ wrench[:3], orientation @ wrench[3:]])
    expected += nullspace_torques(mass, nullspace, rest, np.zeros(7), velocity)
    actual = np.empty(7)
    _torques(jacobian, mass, wrench, rest, velocity, actual)
    np.testing.assert_allclose(actual, expected, atol=1e-8 * abs(expected).max())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_orientation_error_equals_robosuites(seed: int) -> None:
    from robosuite.utils.control_utils import orientation_error
    from scipy.spatial.transform import Rotation

    desired, current = Rotation.random(2, random_state=seed).as_matrix()
    error = np.zeros(3)
    _add_orientation_error(desired, current, error)
    np.testing.assert_allclose(error, orientation_error(desired, current), atol=1e-14)
