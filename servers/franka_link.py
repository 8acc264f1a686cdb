"""The one thread that talks to a Franka's controller, through franky, and connects to it again.

Others leave a velocity or a wish to rest here and read what was sensed last; none of that waits for
a network. Needs franky-control; knows no action and no limit. One file of those to copy
(docs/franka.md).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("hardware")

Array = NDArray[np.float64]

STALE_S = 0.1  # a controller says its state every millisecond
_LOOK_S = 0.002
_AGAIN_S = 1.0
_HEARD_S = 0.1  # for a wish to rest to reach the controller
_STOPPED = {
    "Reflex": "the arm is in reflex",  # its errors, and the cure, follow
    "UserStopped": "the arm's user stop is pressed: release it",
    "Guiding": "the arm is being guided by hand",
    "Other": "the arm is in no mode to move",
    "AutomaticErrorRecovery": "the arm recovers from errors",
}


class NotReady(Exception):
    """The arm cannot be moved, or cannot be heard of. The message says why, and the cure."""


@dataclass(frozen=True)
class Seen:
    """What the controller told: joints `(7,)` in rad and rad/s, and the end effector's kinematics.

    `sense_ns` is no later than it was sensed, on this machine's monotonic clock. `position` `(3,)`
    in m and `rotation` `(3, 3)` are in the base frame, `jacobian` is `(6, 7)`.
    """

    sense_ns: int
    mode: str
    errors: tuple[str, ...]
    joints: Array
    speeds: Array
    position: Array
    rotation: Array
    jacobian: Array


@dataclass(frozen=True)
class Way:
    """How the controller is spoken to.

    `watch_s` is for how long a velocity acts that no other follows: franky's own thread ends it,
    whatever becomes of this process's Python. `acceleration` is a fraction of the arm's limits; it
    brakes with all of them. `tool_m` is from the flange along its z; `torque_nm` and `force_n` are
    what makes a reflex.
    """

    hostname: str
    watch_s: float
    acceleration: float
    tool_m: float
    torque_nm: float
    force_n: float
    realtime: bool


class Link:
    """Owns the connection from `start` to `close`. Safe to use from another thread."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._news = threading.Condition()
        self._velocity: Array | None = None
        self._rest = self._recover = self._closing = False
        self._seen: Seen | None = None
        self._trouble = "the arm's controller has not answered yet"
        self._ended = ""  # why a motion did, by itself; until the next rest
        self._thread = threading.Thread(target=self._run, name="franka", daemon=True)

    def start(self, patience_s: float) -> None:
        """Connect. Raises `NotReady` where the controller does not answer in that time."""
        self._thread.start()
        with self._news:
            if not self._news.wait_for(lambda: self._seen is not None, patience_s):
                raise NotReady(self._trouble)

    def close(self) -> None:
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(timeout=3 * _AGAIN_S)

    def seen(self) -> Seen:
        """The latest state. Raises `NotReady` while the controller is not heard of."""
        with self._news:
            seen, trouble = self._seen, self._trouble
        if trouble or seen is None:
            raise NotReady(trouble)
        silent_s = (time.monotonic_ns() - seen.sense_ns) / 1e9
        if silent_s > STALE_S:
            raise NotReady(
                f"the arm's controller at {self._way.hostname} has not been heard of for "
                f"{silent_s:.2f} s: look at its network; the server connects again by itself"
            )
        return seen

    def ready(self) -> Seen:
        """`seen`, of an arm that may be moved. Raises `NotReady` else."""
        seen = self.seen()
        if seen.mode in _STOPPED or seen.errors:
            raise NotReady(explain(seen))
        if self._ended:
            raise NotReady(f"the arm has ended its motion: {self._ended}")
        return seen

    def move(self, velocity: Array) -> None:
        """Command joint velocities `(7,)` in rad/s, for `watch_s` at most."""
        with self._news:
            self._velocity, self._rest = np.array(velocity), False
            self._news.notify_all()

    def rest(self) -> None:
        """Stop. Raises `NotReady` where that has not reached the controller."""
        with self._news:
            self._velocity, self._rest, self._ended = None, True, ""
            self._news.notify_all()
        self.seen()
        with self._news:
            heard = self._news.wait_for(lambda: not self._rest, _HEARD_S)
        if not heard:
            raise NotReady("the wish to rest has not reached the arm's controller")

    def recover(self) -> None:
        """Have the controller leave its reflex, now: for a person who has looked at the arm.

        While the controller is not heard of this does nothing but say so in the log: it would be
        carried out later, when the person may be gone. Safe in a signal's handler.
        """
        with self._news:
            try:
                self.seen()
            except NotReady as error:
                log.warning("error recovery is dropped: %s; ask again after that", error)
                return
            self._recover = True
            self._news.notify_all()

    def _run(self) -> None:
        while not self._closing:
            try:
                self._talk(self._connected())
            except Exception as error:  # franky raises many kinds, RuntimeError among them
                told = f"the arm's controller at {self._way.hostname}: {_first_line(error)}"
                with self._news:
                    if told != self._trouble:
                        log.warning("%s: connecting again", told)
                    if self._recover:
                        log.warning("error recovery, as a person asked, is dropped: ask again")
                    self._trouble, self._velocity, self._recover = told, None, False
                    self._news.notify_all()
                    if not self._closing:
                        self._news.wait_for(lambda: self._closing, _AGAIN_S)

    def _connected(self) -> Any:
        import franky

        way = self._way
        return franky.Robot(
            way.hostname,
            default_torque_threshold=way.torque_nm,
            default_force_threshold=way.force_n,
            realtime_config=(
                franky.RealtimeConfig.Enforce if way.realtime else franky.RealtimeConfig.Ignore
            ),
        )

    def _talk(self, robot: Any) -> None:
        """Look and tell until closed. Raises whatever ends the connection."""
        import franky

        tool = franky.Affine([0.0, 0.0, self._way.tool_m])
        told, sense_ns = -1, time.monotonic_ns()
        while True:
            with self._news:
                if not (self._rest or self._recover or self._closing):
                    self._news.wait(_LOOK_S)
            self._carry_out(robot)
            if self._closing and not robot.is_in_control:
                robot.join_motion(timeout=1.0)  # its thread ends before the robot goes
                return
            before_ns = time.monotonic_ns()
            state = robot.state
            if state.time.to_msec() != told:
                told = state.time.to_msec()
                seen = _seen(robot.model, state, tool, sense_ns)
                with self._news:
                    self._seen, self._trouble = seen, ""
                    self._news.notify_all()
            sense_ns = before_ns
            self._hear_of_motion(robot)

    def _carry_out(self, robot: Any) -> None:
        import franky

        with self._news:
            velocity, rest, recover = self._velocity, self._rest or self._closing, self._recover
            self._velocity, self._recover = None, False
        if recover and not robot.has_errors:
            log.warning("a person asked for error recovery: the arm has no errors")
        elif recover:
            done = robot.recover_from_errors()
            log.warning("error recovery, as a person asked: %s", "done" if done else "refused")
        if velocity is not None and not rest:
            robot.move(self._motion(velocity), asynchronous=True)
        if rest and robot.is_in_control:
            robot.move(franky.JointVelocityStopMotion(), asynchronous=True)
        with self._news:
            if rest:
                self._rest = False
                self._news.notify_all()

    def _motion(self, velocity: Array) -> Any:
        """That velocity for `watch_s`, then a stop with all that the arm has.

        `hold_target_duration` counts from when the velocity is reached, `max_total_duration` from
        the command: whichever ends first.
        """
        import franky

        watch = franky.Duration(round(1e3 * self._way.watch_s))
        return franky.JointVelocityWaypointMotion(
            [
                franky.JointVelocityWaypoint(
                    velocity,
                    franky.RelativeDynamicsFactor(1.0, self._way.acceleration, 1.0),
                    hold_target_duration=watch,
                    max_total_duration=watch,
                ),
                franky.JointVelocityWaypoint(np.zeros(len(velocity))),
            ]
        )

    def _hear_of_motion(self, robot: Any) -> None:
        """What ended a motion, where it was not its own end. Raises where it was the network."""
        import franky

        try:
            robot.poll_motion()
        except (franky.ControlException, franky.CommandException) as error:
            self._ended = _first_line(error)
            log.warning("the arm has ended its motion: %s", self._ended)


def explain(seen: Seen) -> str:
    """Why an arm in this state is not moved, and what to do."""
    why = _STOPPED.get(seen.mode, "the arm has errors")
    if not seen.errors:
        return why
    return (
        f"{why} ({', '.join(seen.errors)}): look at the arm, then `kill -USR1 {os.getpid()}` where "
        "its server runs"
    )


def _seen(model: Any, state: Any, tool: Any, sense_ns: int) -> Seen:
    import franky

    none = franky.Affine()
    where = (franky.Frame.EndEffector, state.q, tool, none)
    pose = np.asarray(model.pose(*where).matrix)
    return Seen(
        sense_ns=sense_ns,
        mode=state.robot_mode.name,
        errors=_names(state.current_errors),
        joints=np.array(state.q),
        speeds=np.array(state.dq),
        position=pose[:3, 3].copy(),
        rotation=pose[:3, :3].copy(),
        jacobian=np.array(model.zero_jacobian(*where)),
    )


def _names(errors: Any) -> tuple[str, ...]:
    """The errors that are set, by franky's names."""
    return tuple(
        name for name in dir(errors) if not name.startswith("_") and getattr(errors, name) is True
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
