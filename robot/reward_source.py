"""Who may say what a transition was worth.

Apart from its settings, so that `fieldtune-robot --help` needs none of what checks them.
"""

from __future__ import annotations

from enum import StrEnum


class RewardSourceName(StrEnum):
    """driver: the robot measures them itself, as the simulated one does. keys: a person at the
    terminal. command: a program that prints them."""

    DRIVER = "driver"
    KEYS = "keys"
    COMMAND = "command"
