"""robosuite's operational-space position controller and physics loop, compiled (numba, no GIL).

Holds the control law and the calls into libmujoco. It knows nothing of tasks, rewards or
robosuite's classes: `fieldtune.sim.manipulation.simulators.compiled` hands it indices, gains and
pointers. It follows robosuite 1.5.2 (`controllers/parts/arm/osc.py`, `lite_physics=True`,
`OSC_POSITION`, fixed impedance, goals relative to the *achieved* pose in the base frame, position
and orientation uncoupled); Khatib 1987.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from fieldtune.sim.physics import libmujoco
from fieldtune.sim.physics.libmujoco import ADDRESS, INT, pointer
from fieldtune.sim.physics.threads import take

_mj_step1 = libmujoco.function("mj_step1", ADDRESS, ADDRESS)
_mj_step2 = libmujoco.function("mj_step2", ADDRESS, ADDRESS)
_mj_kinematics = libmujoco.function("mj_kinematics", ADDRESS, ADDRESS)
_mj_com_pos = libmujoco.function("mj_comPos", ADDRESS, ADDRESS)
_mj_jac_site = libmujoco.function("mj_jacSite", ADDRESS, ADDRESS, ADDRESS, ADDRESS, INT)
_mj_full_m = libmujoco.function("mj_fullM", ADDRESS, ADDRESS, ADDRESS)

NULLSPACE_GAIN = 10.0  # robosuite.utils.control_utils.nullspace_torques
DATA_FIELDS = ("qpos", "qvel", "qfrc_bias", "ctrl", "site_xpos", "site_xmat", "qM")


class Controller(NamedTuple):
    """One arm's indices and gains: `n` joints, `g` gripper actuators. All arrays C-contiguous.

    `kp` and `kd` are for `(x, y, z, rx, ry, rz)`; `delta_low` and `delta_high` bound the
    displacement, in metres.
    """

    site: int
    nq: int
    nv: int
    nu: int
    nsite: int
    qpos: NDArray[np.int64]
    qvel: NDArray[np.int64]
    actuators: NDArray[np.int64]
    torque_low: NDArray[np.float64]
    torque_high: NDArray[np.float64]
    gripper_actuators: NDArray[np.int64]
    kp: NDArray[np.float64]
    kd: NDArray[np.float64]
    delta_low: NDArray[np.float64]
    delta_high: NDArray[np.float64]
    base_position: NDArray[np.float64]
    base_rotation: NDArray[np.float64]


def data_addresses(data: mujoco.MjData) -> list[int]:
    """Addresses of one `MjData` and of its `DATA_FIELDS`. Valid while `data` lives."""
    return [data._address, *(getattr(data, name).ctypes.data for name in DATA_FIELDS)]


@njit(nogil=True, cache=True)
def _factor(matrix, n):  # type: ignore[no-untyped-def]
    """Cholesky factor of a symmetric positive definite `(n, n)`, in place, lower triangle.

    The pivot's floor only acts where the matrix is singular to rounding.
    """
    floor = 1e-15 * matrix[0, 0]
    for j in range(n):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        root = np.sqrt(max(pivot, floor))
        matrix[j, j] = root
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = value / root


@njit(nogil=True, cache=True)
def _solve(factor, n, vector):  # type: ignore[no-untyped-def]
    """Solve with a factor of `_factor`, in place."""
    for i in range(n):
        value = vector[i]
        for k in range(i):
            value -= factor[i, k] * vector[k]
        vector[i] = value / factor[i, i]
    for i in range(n - 1, -1, -1):
        value = vector[i]
        for k in range(i + 1, n):
            value -= factor[k, i] * vector[k]
        vector[i] = value / factor[i, i]


@njit(nogil=True, cache=True)
def _add_orientation_error(desired, current, error):  # type: ignore[no-untyped-def]
    """Half the sum of column cross products, as robosuite's `orientation_error`."""
    for c in range(3):
        for a in range(3):
            b, d = (a + 1) % 3, (a + 2) % 3
            error[a] += 0.5 * (current[b, c] * desired[d, c] - current[d, c] * desired[b, c])


@njit(nogil=True, cache=True)
def _torques(jacobian, mass, wrench, rest, velocity, out):  # type: ignore[no-untyped-def]
    """Task torques Jᵀ·Λ·F plus the posture's torques in the task's null space, `(n,)`.

    With x the posture's joint acceleration: Nᵀ·M·x = M·x − Jᵀ·Λ·(J·M⁻¹)·M·x = M·x − Jᵀ·Λ·J·x.

    Args:
        jacobian: `(6, n)`, rows position then orientation.
        mass: `(n, n)` joint-space inertia of the arm.
        wrench: `(6,)` desired acceleration; position and orientation are decoupled (Λ_pos, Λ_ori).
        rest: `(n,)` posture minus joint position.
        velocity: `(n,)` joint velocity.
        out: `(n,)` receives the torques, without gravity compensation.
    """
    n = rest.shape[0]
    posture = NULLSPACE_GAIN * rest - 2.0 * np.sqrt(NULLSPACE_GAIN) * velocity
    factor = mass.copy()
    _factor(factor, n)
    inverse_inertia = np.empty((6, 6))
    row = np.empty(n)
    for i in range(6):
        row[:] = jacobian[i]
        _solve(factor, n, row)
        for j in range(6):
            total = 0.0
            for k in range(n):
                total += row[k] * jacobian[j, k]
            inverse_inertia[i, j] = total

    position = inverse_inertia[:3, :3].copy()
    _factor(position, 3)
    force = wrench[:3].copy()
    _solve(position, 3, force)
    orientation = inverse_inertia[3:, 3:].copy()
    _factor(orientation, 3)
    moment = wrench[3:].copy()
    _solve(orientation, 3, moment)

    in_task = np.zeros(6)
    for i in range(6):
        for k in range(n):
            in_task[i] += jacobian[i, k] * posture[k]
    _factor(inverse_inertia, 6)
    _solve(inverse_inertia, 6, in_task)

    for k in range(n):
        total = 0.0
        for i in range(3):
            total += jacobian[i, k] * (force[i] - in_task[i])
            total += jacobian[i + 3, k] * (moment[i] - in_task[i + 3])
        for j in range(n):
            total += mass[k, j] * posture[j]
        out[k] = total


@njit(nogil=True, cache=True)
def _observe(model, data, qpos, qvel, positions, jacobian, c, out):  # type: ignore[no-untyped-def]
    """Joint positions and velocities, end-effector position and velocity in the base frame.

    The kinematics are those of the *current* joint positions; robosuite's own observables lag by
    one physics step.
    """
    n = c.qpos.shape[0]
    _mj_kinematics(model, data)
    _mj_com_pos(model, data)
    _mj_jac_site(model, data, jacobian.ctypes.data, 0, c.site)
    for i in range(n):
        out[i] = qpos[c.qpos[i]]
        out[n + i] = qvel[c.qvel[i]]
    for a in range(3):
        position, velocity = 0.0, 0.0
        for b in range(3):
            position += c.base_rotation[b, a] * (positions[c.site, b] - c.base_position[b])
            speed = 0.0
            for k in range(c.nv):
                speed += jacobian[b, k] * qvel[k]
            velocity += c.base_rotation[b, a] * speed
        out[2 * n + a] = position
        out[2 * n + 3 + a] = velocity


@njit(nogil=True, cache=True)
def advance(turns, models, addresses, c, displacements, grips, postures, substeps, out):  # type: ignore[no-untyped-def]
    """Run the controller and the physics of several arms for one control period.

    Args:
        turns: who runs which arms (`fieldtune.sim.physics.threads`).
        models: addresses of their `MjModel`s, `(env,)`.
        addresses: `(env, 8)` int64, from `data_addresses`.
        c: the `Controller`.
        displacements: `(env, 3)` end-effector displacement (m), base frame; clipped to bounds.
        grips: `(env, g)` what the gripper's actuators are told.
        postures: `(env, n)` joint positions that the null space returns to.
        substeps: physics steps in the period; 0 only observes.
        out: `(env, 2n + 6)` receives the observations.
    """
    n = c.qpos.shape[0]
    jacobian_all = np.empty((6, c.nv))
    mass_all = np.empty((c.nv, c.nv))
    jacobian = np.empty((6, n))
    mass = np.empty((n, n))
    rest, speeds, torques = np.empty(n), np.empty(n), np.empty(n)
    wrench, twist = np.empty(6), np.empty(6)
    goal_position = np.empty(3)
    goal_rotation = np.empty((3, 3))
    start, stop = take(turns)
    while start < stop:
        for env in range(start, stop):
            model, data = models[env], addresses[env, 0]
            qpos = carray(pointer(addresses[env, 1]), (c.nq,))
            qvel = carray(pointer(addresses[env, 2]), (c.nv,))
            bias = carray(pointer(addresses[env, 3]), (c.nv,))
            ctrl = carray(pointer(addresses[env, 4]), (c.nu,))
            positions = carray(pointer(addresses[env, 5]), (c.nsite, 3))
            rotations = carray(pointer(addresses[env, 6]), (c.nsite, 3, 3))
            for substep in range(substeps):
                _mj_step1(model, data)
                rotation = rotations[c.site]
                if substep == 0:
                    goal_rotation[:] = rotation
                    for a in range(3):
                        goal_position[a] = positions[c.site, a]
                        for b in range(3):
                            delta = displacements[env, b]
                            delta = min(max(delta, c.delta_low[b]), c.delta_high[b])
                            goal_position[a] += c.base_rotation[a, b] * delta

                half = jacobian_all.ctypes.data + 3 * c.nv * 8
                _mj_jac_site(model, data, jacobian_all.ctypes.data, half, c.site)
                _mj_full_m(model, mass_all.ctypes.data, addresses[env, 7])
                for i in range(6):
                    twist[i] = 0.0
                    for k in range(c.nv):
                        twist[i] += jacobian_all[i, k] * qvel[k]
                    for k in range(n):
                        jacobian[i, k] = jacobian_all[i, c.qvel[k]]
                for i in range(n):
                    rest[i] = postures[env, i] - qpos[c.qpos[i]]
                    speeds[i] = qvel[c.qvel[i]]
                    for k in range(n):
                        mass[i, k] = mass_all[c.qvel[i], c.qvel[k]]

                for a in range(3):
                    wrench[a] = goal_position[a] - positions[c.site, a]
                    wrench[3 + a] = 0.0
                _add_orientation_error(goal_rotation, rotation, wrench[3:])
                for i in range(6):
                    wrench[i] = c.kp[i] * wrench[i] - c.kd[i] * twist[i]
                _torques(jacobian, mass, wrench, rest, speeds, torques)
                for i in range(n):
                    torque = torques[i] + bias[c.qvel[i]]
                    ctrl[c.actuators[i]] = min(max(torque, c.torque_low[i]), c.torque_high[i])
                for i in range(c.gripper_actuators.shape[0]):
                    ctrl[c.gripper_actuators[i]] = grips[env, i]
                _mj_step2(model, data)
            _observe(model, data, qpos, qvel, positions, jacobian_all, c, out[env])
        start, stop = take(turns)
