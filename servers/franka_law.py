"""How a Franka moves as the `reach` family's Panda does: its law and limits, pure functions.

An action is a displacement of the end effector in the arm's base frame, and what the family's
controller makes of it is a motion that lags behind: `mean_velocity`. `joint_velocity` turns that
into what the arm is commanded, and `within` keeps it in. Needs numpy; knows no robot, no clock and
no socket. One file of those to copy (docs/franka.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINTS = 7
PERIOD_S = 0.05
FARTHEST_M = 0.05  # a displacement's bound, by axis
# Of the family's `home_joints` and start noise (sim/manipulation); a test holds them to these.
HOME = np.array([0.0, 0.19634954, 0.0, -2.61799388, 0.0, 2.94159265, 0.78539816])
HOME_M = (0.457, 0.0, 0.099)  # the grip site there, base frame
START_NOISE_RAD = 0.02
TOOL_M = 0.0965  # from Franka's flange along its z to robosuite's grip site
# What the joints of the family's model may be, and of the two arms that Franka sells.
FAMILY_ENDS = np.array(
    [
        (-2.8973, 2.8973),
        (-1.7628, 1.7628),
        (-2.8973, 2.8973),
        (-3.0718, -0.0698),
        (-2.8973, 2.8973),
        (-0.0175, 3.7525),
        (-2.8973, 2.8973),
    ]
)
ENDS = {
    "panda": FAMILY_ENDS,
    "fr3": np.array(
        [
            (-2.7437, 2.7437),
            (-1.7837, 1.7837),
            (-2.9007, 2.9007),
            (-3.0421, -0.1518),
            (-2.8065, 2.8065),
            (0.5445, 4.5169),
            (-3.0159, 3.0159),
        ]
    ),
}
# Least squares over 3,200 steps of the family's simulator (a test repeats it): in a period under
# the displacement d from the velocity v, the end effector goes at 2.00 d + 0.595 v on average, and
# at 3.02 d + 0.341 v in the end. Per second, and without unit.
MEAN_OF_D, MEAN_OF_V = 2.00, 0.595
NEXT_OF_D, NEXT_OF_V = 3.02, 0.341
POSTURE_RATE = 1.58  # 1/s: kp / kd of the family's null space
TURN_RATE = 2.0  # 1/s: back to the start's orientation, which the family holds
_DAMPING = 0.02


@dataclass(frozen=True)
class Bounds:
    """What `within` keeps: places in m and rad, speeds in m/s and rad/s.

    `stop_s` is for how long the arm may go on after a last command: its lease, and braking.
    """

    low: Array  # (3,) of the workspace, base frame
    high: Array
    joint_low: Array  # (7,)
    joint_high: Array
    speed: float
    joint_speed: float
    stop_s: float


def mean_velocity(displacement: Array, velocity: Array) -> Array:
    """The end effector's velocity `(3,)` in m/s over a period.

    Args:
        displacement: the action, `(3,)` in m.
        velocity: what `next_velocity` gave for the period before; 0 from rest. `(3,)` in m/s.
    """
    return MEAN_OF_D * displacement + MEAN_OF_V * velocity


def next_velocity(displacement: Array, velocity: Array) -> Array:
    """The family's velocity `(3,)` in m/s at the end of that period. Takes what `mean_velocity`
    does."""
    return NEXT_OF_D * displacement + NEXT_OF_V * velocity


def displacement_of(mean: Array, velocity: Array) -> Array:
    """The action, within its bounds, whose `mean_velocity` this is."""
    return np.clip((mean - MEAN_OF_V * velocity) / MEAN_OF_D, -FARTHEST_M, FARTHEST_M)


def kept_in(linear: Array, position: Array, bounds: Bounds) -> Array:
    """A velocity `(3,)` that leaves neither workspace nor speed, were this the last command.

    Outwards each axis slows down before its bound, and stops beyond it; inwards it is free.
    """
    room_high = np.maximum(bounds.high - position, 0.0) / bounds.stop_s
    room_low = np.minimum(bounds.low - position, 0.0) / bounds.stop_s
    kept = np.clip(linear, room_low, room_high)
    speed = float(np.linalg.norm(kept))
    return kept * (bounds.speed / speed) if speed > bounds.speed else kept


def joint_velocity(jacobian: Array, linear: Array, angular: Array, towards_posture: Array) -> Array:
    """Joint velocities `(7,)` in rad/s for the end effector's, by damped least squares.

    Args:
        jacobian: `(6, 7)` of the end effector in the base frame, linear rows first.
        linear, angular: `(3,)` in m/s and rad/s.
        towards_posture: `(7,)` in rad/s, followed where it moves the end effector not at all.
    """
    square = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
    twist = np.concatenate([linear, angular])
    wanted = jacobian.T @ np.linalg.solve(square, twist - jacobian @ towards_posture)
    return towards_posture + wanted


def turn_back(rotation: Array, goal: Array) -> Array:
    """Angular velocity `(3,)` in rad/s from a rotation `(3, 3)` towards another one."""
    return TURN_RATE * 0.5 * np.cross(rotation, goal, axis=0).sum(axis=1)


def within(velocity: Array, joints: Array, bounds: Bounds) -> Array:
    """Joint velocities slowed down alike, until each keeps its speed and its ends.

    As `kept_in`: outwards a joint slows down before its end and stops beyond it.
    """
    room = np.where(velocity > 0, bounds.joint_high - joints, joints - bounds.joint_low)
    most = np.minimum(np.maximum(room, 0.0) / bounds.stop_s, bounds.joint_speed)
    speed = np.abs(velocity)
    moving = speed > 1e-9
    return velocity * min(1.0, float(np.min(most[moving] / speed[moving], initial=1.0)))


def start_of(seed: int) -> Array:
    """Where an episode starts, `(7,)` in rad: the family's start for the seed."""
    return HOME + START_NOISE_RAD * np.random.default_rng(seed).standard_normal(JOINTS)


def homewards(joints: Array, start: Array, speed: float) -> Array:
    """Joint velocities `(7,)` straight to the start, slower when near; 0 within `HOME_RAD`."""
    way = start - joints
    farthest = float(np.abs(way).max())
    if farthest < HOME_RAD:
        return np.zeros(JOINTS)
    return way / farthest * min(speed, _HOME_RATE * farthest)


def no_faster(velocity: Array, jacobian: Array, speed: float) -> Array:
    """Joint velocities slowed down alike, until the end effector keeps `speed` in m/s."""
    tip = float(np.linalg.norm(jacobian[:3] @ velocity))
    return velocity * (speed / tip) if tip > speed else velocity


HOME_RAD = 0.005
_HOME_RATE = 3.0
