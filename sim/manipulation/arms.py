"""What each arm is, without loading its model.

Holds constants copied from robosuite's models; a test holds them to the models. It must not import
mujoco or robosuite, so that a family can be described (and a log scored) in an instant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One arm, its gripper and where it stands. Lengths in metres, angles in radians.

    Positions are in the base frame: the origin is the arm's shoulder site, x points at the table.
    `home_joints` are robosuite's own. `low_joints` and `high_joints` hold the gripper 0.08 and
    0.15 m above the table's centre, straight down. `fingers_closed` and `fingers_open` are what the
    fingers' joints differ by at the two ends of the gripper's command.
    """

    robosuite_name: str
    joint_low: tuple[float, ...]
    joint_high: tuple[float, ...]
    home_joints: tuple[float, ...]
    home_position: tuple[float, float, float]
    low_joints: tuple[float, ...]
    high_joints: tuple[float, ...]
    fingers_closed: float
    fingers_open: float
    table_height: float
    reach: float

    @property
    def joints(self) -> int:
        return len(self.joint_low)


ARMS = {
    "sawyer": Arm(
        robosuite_name="Sawyer",
        joint_low=(-3.0503, -3.8095, -3.0426, -3.0439, -2.9761, -2.9761, -4.7124),
        joint_high=(3.0503, 2.2736, 3.0426, 3.0439, 2.9761, 2.9761, 4.7124),
        home_joints=(0.0, -1.18, 0.0, 2.18, 0.0, 0.57, -1.57),
        home_position=(0.44968, 0.16030, 0.10725),
        low_joints=(-0.2983, -0.7200, 0.0115, 1.8899, -0.0221, 0.4009, -1.6667),
        high_joints=(-0.2916, -0.8844, 0.0019, 1.9256, -0.0023, 0.5296, -1.6844),
        fingers_closed=-0.023,
        fingers_open=0.023,
        table_height=-0.112,
        reach=1.26,
    ),
    "panda": Arm(
        robosuite_name="Panda",
        joint_low=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        joint_high=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        home_joints=(
            0.0,
            0.19634954084936207,
            0.0,
            -2.617993877991494,
            0.0,
            2.941592653589793,
            0.7853981633974483,
        ),
        home_position=(0.45723, 0.0, 0.09904),
        low_joints=(0.0001, 0.7400, -0.0001, -2.0849, 0.0002, 2.8249, 0.7858),
        high_joints=(0.0001, 0.5603, -0.0001, -2.1542, 0.0001, 2.7145, 0.7858),
        fingers_closed=0.0,
        fingers_open=0.08,
        table_height=-0.112,
        reach=0.855,
    ),
}


def arm(family: str, robot: str) -> Arm:
    """The arm that `family` calls `robot`. Raises `ValueError` listing the known ones."""
    try:
        return ARMS[robot]
    except KeyError:
        known = ", ".join(sorted(ARMS))
        raise ValueError(
            f"family {family!r}: unknown robot {robot!r}; choose one of: {known}"
        ) from None
