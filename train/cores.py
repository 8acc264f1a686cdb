"""How many processes may simulate at once: the key `workers`.

Knows this process's cores and what a study leaves it of them; not what is simulated.
"""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from typing import Literal

from fieldtune.errors import UserError

QUOTA = Path("/sys/fs/cgroup/cpu.max")
SHARE = "FIELDTUNE_WORKERS"  # of the machine's cores, set by a study for each of its jobs


class WrongShare(UserError):
    """`FIELDTUNE_WORKERS` makes no sense. The message says what it is and the cure."""


def available() -> int:
    """Cores that this process may use: what it was given of them, else all that it may run on.

    Raises:
        WrongShare: what it was given is no number.
    """
    given = os.environ.get(SHARE)
    if given is None:
        return min(len(os.sched_getaffinity(0)), _quota())
    if not re.fullmatch(r"[1-9][0-9]{0,3}", given):
        raise WrongShare(f"{SHARE} is {given!r}, expected a whole number from 1: unset it")
    return int(given)


def workers(asked: int | Literal["auto"]) -> int:
    """The number of processes that the key `workers` asks for.

    Args:
        asked: `auto` takes the cores that are available.

    Raises:
        WrongShare: as `available`.
    """
    return available() if asked == "auto" else asked


def share(slots: int) -> int:
    """Of the available cores, what each of `slots` jobs at once may use: at least 1."""
    return max(1, available() // slots)


def _quota() -> int:
    """Cores that a container's limit of processor time is worth, rounded up; no less than 1."""
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # none, or `max`
        return sys.maxsize
