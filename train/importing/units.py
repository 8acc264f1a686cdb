"""Numbers of the data in the family's terms: named units, ranges, rotations. Pure functions.

Knows arrays and names of units; not where either comes from.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np

from fieldtune.sim.family import Array

QUATERNION: Final = "quaternion"  # a field's unit: w, x, y, z, as MuJoCo has them

# By what is measured: how many of the first unit one of each is.
_KINDS: Final[tuple[dict[str, float], ...]] = (
    {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "in": 0.0254},
    {"rad": 1.0, "deg": np.pi / 180, "degrees": np.pi / 180, "turns": 2 * np.pi},
    {"m/s": 1.0, "cm/s": 1e-2, "mm/s": 1e-3, "km/h": 1 / 3.6},
    {
        "rad/s": 1.0,
        "deg/s": np.pi / 180,
        "degrees/s": np.pi / 180,
        "turns/s": 2 * np.pi,
        "rpm": np.pi / 30,
    },
    {"N": 1.0, "kN": 1e3},
    {"N m": 1.0, "Nm": 1.0, "N mm": 1e-3},
    {"kg": 1.0, "g": 1e-3},
    {"s": 1.0, "ms": 1e-3},
    {"normalised": 1.0, "share of travel": 1.0, "percent": 1e-2},
)

Rotation = Literal["wxyz", "xyzw", "matrix", "rotvec", "rpy"]
"""How data hold a rotation: a quaternion, nine numbers by row, axis times angle in rad, or roll,
pitch and yaw in rad about the fixed x, y and z (rpy)."""
Angle = Literal["wxyz", "xyzw", "matrix", "rotvec", "rpy", "roll", "pitch", "yaw"]
"""What a field wants of it; one of the three angles alone too."""
ROTATION_WIDTHS: Final[dict[str, int]] = {
    "wxyz": 4,
    "xyzw": 4,
    "matrix": 9,
    "rotvec": 3,
    "rpy": 3,
    "roll": 1,
    "pitch": 1,
    "yaw": 1,
}
ANGLES: Final[tuple[str, ...]] = get_args(Angle)[-3:]
IN_RADIANS: Final = (*ANGLES, "rpy", "rotvec")
_UNIT_LENGTH = 0.01  # a quaternion's norm may differ from 1 by this much


def factor(unit: str, wanted: str) -> float | None:
    """How many `wanted` one `unit` is; None where no conversion is known."""
    if unit == wanted:
        return 1.0
    for kind in _KINDS:
        if unit in kind and wanted in kind:
            return kind[unit] / kind[wanted]
    return None


def convertible(wanted: str) -> list[str]:
    """The units that are known to become `wanted`."""
    return next((list(kind) for kind in _KINDS if wanted in kind), [wanted])


def between(rows: Array, data: tuple[float, float], family: tuple[float, float]) -> Array:
    """`rows` on the line on which `data[0]` is `family[0]` and `data[1]` is `family[1]`."""
    share = (rows - data[0]) / (data[1] - data[0])
    return np.asarray(family[0] + share * (family[1] - family[0]))


def turned(rows: Array, data: str, family: str) -> Array:
    """Rotations `(row, …)` held as `data` (a `Rotation`), as `family` (an `Angle`) wants them.

    Quaternions are sent through as they are, only ordered, so that their sign stays.

    Raises:
        ValueError: a row is no rotation; says which.
    """
    from scipy.spatial.transform import Rotation as Rotations

    if data in ("wxyz", "xyzw"):
        norms = np.linalg.norm(rows, axis=-1)
        wrong = np.flatnonzero(~(np.abs(norms - 1.0) <= _UNIT_LENGTH))
        if len(wrong):
            raise ValueError(
                f"row {wrong[0]} is {rows[wrong[0]].tolist()}, of length {norms[wrong[0]]:.4g}, "
                "expected a quaternion of length 1"
            )
        if family in ("wxyz", "xyzw"):
            same = data == family
            return rows if same else np.roll(rows, 1 if data == "xyzw" else -1, axis=-1)
        found = Rotations.from_quat(rows if data == "xyzw" else np.roll(rows, -1, axis=-1))
    elif data == "matrix":
        matrices = rows.reshape(-1, 3, 3)
        away = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        wrong = np.flatnonzero(~((away <= _UNIT_LENGTH) & (np.linalg.det(matrices) > 0)))
        if len(wrong):
            raise ValueError(f"row {wrong[0]} is {rows[wrong[0]].tolist()}, no rotation matrix")
        found = Rotations.from_matrix(matrices)
    elif data == "rotvec":
        found = Rotations.from_rotvec(rows)
    else:
        found = Rotations.from_euler("xyz", rows)
    if family in ("wxyz", "xyzw"):
        quaternions = found.as_quat()
        return np.roll(quaternions, 1, axis=-1) if family == "wxyz" else np.asarray(quaternions)
    if family == "matrix":
        return np.asarray(found.as_matrix().reshape(-1, 9))
    if family == "rotvec":
        return np.asarray(found.as_rotvec())
    angles = found.as_euler("xyz")
    return np.asarray(angles if family == "rpy" else angles[:, [ANGLES.index(family)]])
