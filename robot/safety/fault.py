"""What every rule raises when nothing may be done but to hold, and how a fault is told."""

from __future__ import annotations

from fieldtune.errors import UserError


class LimitFault(UserError):
    """A command or an observation that nothing may be done with, but to hold."""


class Implausible(LimitFault):
    """An observation that the robot's own limits allow, and nothing in the bundle's data is like.

    Before anything moves it speaks against the bundle as much as against the sensor.
    """


def explain(error: BaseException) -> str:
    """The error's own words; its type too where it is none of ours."""
    if isinstance(error, UserError) or type(error).__module__.startswith("fieldtune."):
        return str(error)
    return f"{type(error).__name__}: {error}"
