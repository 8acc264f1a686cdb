"""What every rule raises when nothing may be done but to hold."""

from __future__ import annotations


class LimitFault(Exception):
    """A command or an observation that nothing may be done with, but to hold."""
