"""What each arm of the `reach` family is, without loading its model.

Holds constants copied from robosuite's models; a test holds them to the models. It must not import
mujoco or robosuite, so that a family can be described (and a log scored) in an instant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One arm, its gripper and where it stands. Lengths in metres, angles in radians.

    Positions are in the base frame: the origin is the arm's shoulder site, x points at the table.
    """

    robosuite_name: str
    joint_low: tuple[float, ...]
    joint_high: tuple[float, ...]
    home_joints: tuple[float, ...]
    home_position: tuple[float, float, float]
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
        table_height=-0.112,
        reach=0.855,
    ),
}


def arm(robot: str) -> Arm:
    """The arm called `robot`. Raises `ValueError` listing the known ones."""
    try:
        return ARMS[robot]
    except KeyError:
        known = ", ".join(sorted(ARMS))
        raise ValueError(
            f"family 'reach': unknown robot {robot!r}; choose one of: {known}"
        ) from None
