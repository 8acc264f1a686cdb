"""Units that joints' limits can be compared in, and how large one of a field's own is.

Knows units alone. It must not know fields or limits.
"""

from __future__ import annotations

import math

_DEGREE = math.pi / 180
# By quantity: unit -> (for a joint that rotates, factor to rad, m, seconds, N m, N)
UNITS: dict[str, dict[str, tuple[bool, float]]] = {
    "position": {
        "rad": (True, 1.0),
        "deg": (True, _DEGREE),
        "degrees": (True, _DEGREE),
        "m": (False, 1.0),
        "mm": (False, 1e-3),
    },
    "velocity": {
        "rad/s": (True, 1.0),
        "deg/s": (True, _DEGREE),
        "degrees/s": (True, _DEGREE),
        "m/s": (False, 1.0),
        "mm/s": (False, 1e-3),
    },
    "effort": {
        "N m": (True, 1.0),
        "N·m": (True, 1.0),
        "N*m": (True, 1.0),
        "Nm": (True, 1.0),
        "N": (False, 1.0),
    },
}


def of_one(unit: str) -> float:
    """How many of `unit` are one rad, m, rad/s, m/s, N m or N; 1 for units not known here."""
    for known in UNITS.values():
        if unit in known:
            return 1 / known[unit][1]
    return 1.0
