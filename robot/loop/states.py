"""The robot's states, and the only ways from one to another.

Holds no behaviour: what a state means for the motors is the driver's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from fieldtune.str_enum import StrEnum

log = logging.getLogger(__name__)


class State(StrEnum):
    """What the robot may do now.

    disarmed: nothing moves. armed: checked, and ready to start. running: the policy moves it.
    hold: at rest between episodes. fault: at rest until a person re-arms.
    """

    DISARMED = "disarmed"
    ARMED = "armed"
    RUNNING = "running"
    HOLD = "hold"
    FAULT = "fault"


_WAYS = {
    State.DISARMED: {State.ARMED, State.FAULT},
    State.ARMED: {State.RUNNING, State.DISARMED, State.FAULT},
    State.RUNNING: {State.HOLD, State.FAULT},
    State.HOLD: {State.ARMED, State.DISARMED, State.FAULT},
    State.FAULT: set(),
}


_LEVELS = {State.ARMED: logging.DEBUG, State.FAULT: logging.ERROR}


class StateError(Exception):
    """A change of state that is not allowed."""


class States:
    """The current state. A fault stays until `rearm`, which only a person may ask for.

    `on_change` is called after each change.
    """

    def __init__(self) -> None:
        self.current = State.DISARMED
        self.reason = ""
        self.on_change: Callable[[], None] = lambda: None

    @property
    def fault_reason(self) -> str:
        """Why the robot is in fault; empty when it is not."""
        return self.reason if self.current is State.FAULT else ""

    def to(self, state: State, reason: str = "") -> None:
        """Go to `state`. Raises `StateError` where no way leads there, changing nothing."""
        if state not in _WAYS[self.current]:
            ways = ", ".join(sorted(_WAYS[self.current])) or "rearm, by a person"
            raise StateError(f"no way from {self.current} to {state}; from here: {ways}")
        self._enter(state, reason)

    def fault(self, reason: str) -> None:
        """Latch a fault, from any state. The first fault's reason is the one kept."""
        if self.current is not State.FAULT:
            self._enter(State.FAULT, reason)

    def rearm(self) -> None:
        """Leave the fault. Only for code that a person has asked to."""
        if self.current is State.FAULT:
            self._enter(State.DISARMED, "re-armed by a person")

    def _enter(self, state: State, reason: str) -> None:
        level = _LEVELS.get(state, logging.INFO)
        log.log(level, "%s -> %s%s", self.current, state, f": {reason}" if reason else "")
        self.current, self.reason = state, reason
        self.on_change()
