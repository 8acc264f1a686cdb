"""Where the UR5e's tool is, and how it moves with the joints: numpy alone, for both machines.

Lengths are those of robosuite's model, which a test holds them to. Must not know fieldtune.
"""

import numpy as np

JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
HOME = np.array([-0.29, -1.64, 1.99, -1.88, -1.59, -1.99])  # rad: the tool points down
TOOL = 0.1  # m: from the flange to the tip

_STRAIGHT = np.eye(3)
_TILTED = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # 90 degrees about y
# Of each link: where it stands in the one before (m), how it is turned there, its joint's axis.
_LINKS = (
    ((0.0, 0.0, 0.163), _STRAIGHT, 2),
    ((0.0, 0.138, 0.0), _TILTED, 1),
    ((0.0, -0.131, 0.425), _STRAIGHT, 1),
    ((0.0, 0.0, 0.392), _TILTED, 1),
    ((0.0, 0.127, 0.0), _STRAIGHT, 2),
    ((0.0, 0.0, 0.1), _STRAIGHT, 1),
)
_TIP = (0.0, 0.098 + TOOL, 0.0)


def tip(joints):
    """The tip in m, `(..., 3)`, of joint positions in rad, `(..., 6)`."""
    return tip_and_jacobian(joints)[0]


def tip_and_jacobian(joints):
    """The tip in m, `(..., 3)`, and its derivative by the joints in m/rad, `(..., 3, 6)`."""
    place = np.zeros((*joints.shape[:-1], 3))
    turn = np.broadcast_to(_STRAIGHT, (*joints.shape[:-1], 3, 3))
    axes, centres = [], []
    for index, (offset, fixed, axis) in enumerate(_LINKS):
        place = place + turn @ offset
        turn = turn @ fixed @ _about(axis, joints[..., index])
        axes.append(turn[..., axis])
        centres.append(place)
    end = place + turn @ _TIP
    columns = [np.cross(axis, end - centre) for axis, centre in zip(axes, centres, strict=True)]
    return end, np.stack(columns, axis=-1)


def _about(axis, angle):
    """Turns about x, y or z (0, 1, 2) by angles in rad, `(...)` to `(..., 3, 3)`."""
    after, last = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((*angle.shape, 3, 3))
    turn[..., axis, axis] = 1.0
    turn[..., after, after] = turn[..., last, last] = np.cos(angle)
    turn[..., last, after] = np.sin(angle)
    turn[..., after, last] = -np.sin(angle)
    return turn
