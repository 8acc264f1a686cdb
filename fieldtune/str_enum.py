"""Enumerations whose members are their text, on every Python that a robot's computer has.

The standard library has `StrEnum` from 3.11 on; JetPack 6 and ROS 2 Humble bring 3.10. Holds no
enumeration of its own.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from enum import StrEnum
else:
    from enum import Enum

    class StrEnum(str, Enum):
        """As the standard library's: a member prints and formats as its value."""

        __str__ = str.__str__


__all__ = ["StrEnum"]
