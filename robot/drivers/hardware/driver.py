"""The `zmq` driver: hardware that another process serves, in any language or environment.

The server keeps the rules (docs/drivers.md); this side gives it what they need: each command names
the observation it answers and how long it may act. It must not know which hardware there is.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Array, DriverFault, Observation
from fieldtune.robot.drivers.hardware.description import (
    read_description,
    require_same,
)
from fieldtune.robot.drivers.hardware.frames import (
    Ask,
    Code,
    FrameError,
    Say,
    Sensed,
    State,
    read_numbers,
    read_observation,
    write_action,
    write_seed,
)
from fieldtune.robot.drivers.hardware.link import Answer, NoAnswer, Refusal, patiently
from fieldtune.robot.drivers.hardware.options import ZmqOptions, link_for
from fieldtune.robot.drivers.person import NotOffered
from fieldtune.robot.timing.clock import SECOND_NS

log = logging.getLogger(__name__)

LEASE_PERIODS = 3  # a command outlives one missed period, and not two
_CURE = "`fieldtune-robot describe`"
_ECHOES = 8
_UNHELD = (
    "the hardware server has not said that it holds; it does by itself when its lease runs out, if "
    "it lives"
)
_GUIDING = "being guided by hand (release, guided)"
_TELEOPERATION = "a person's commands (commanded)"
_TRIES = 4  # to be heard within a lease of homing, at least


class ZmqDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`."""

    Options = ZmqOptions

    def __init__(self, family: str, options: ZmqOptions) -> None:  # noqa: ARG002
        """Raises `DriverFault` for a description, an address or keys that cannot be used."""
        self._options = options
        self._description = read_description(options.description, _CURE)
        lease_s = options.lease_s or LEASE_PERIODS * self._description.period_s
        if lease_s > self._description.max_lease_s:
            raise DriverFault(
                f"robot.driver.lease_s is {lease_s:g} (three control periods where not given), the "
                f"server allows at most {self._description.max_lease_s:g}: set it lower"
            )
        self._lease_ns = round(lease_s * SECOND_NS)
        self._timeout_s = options.timeout_s or lease_s
        homing_s = min(options.home_patience_s, self._description.max_lease_s)
        self._home_lease_ns = round(homing_s * SECOND_NS)
        self._home_wait_s = min(lease_s, homing_s / _TRIES)
        self._hold_patience_s = max(self._timeout_s, homing_s)  # then leases have run out
        self._moves = False  # whether motion was asked for since the server last said that it holds
        self._link = link_for(options)
        self._sensed_by = 0  # the SENSE that brought the latest observation
        self._guided = False

    @property
    def robot(self) -> str:
        return self._description.robot

    @property
    def observation_fields(self) -> tuple[FieldSpec, ...]:
        return self._description.observation_fields

    @property
    def action_fields(self) -> tuple[FieldSpec, ...]:
        return self._description.action_fields

    @property
    def period_s(self) -> float:
        return self._description.period_s

    @property
    def time_scale(self) -> float:
        return 1.0

    def connect(self) -> None:
        """Take the robot, which stays at rest, and hold the server against its description."""
        if self._link.is_open:
            return
        served = self._link.open(self._options.connect_timeout_s)
        try:
            require_same(self._description, served, self._link.address)
            self._moves = False  # a session begins at rest
            for _ in range(_ECHOES):  # for the clock
                patiently(self._sense, self._home_wait_s, self._options.connect_timeout_s)
        except BaseException:
            self._link.close()
            raise

    def home(self, seed: int) -> None:
        """Have the server bring the robot to a start, and keep it going there.

        Where an answer is missed, what the robot does is asked for until it is known. It is told to
        home again only where it rests, because it had not heard it, or its lease ran out in a
        silence no longer than `home_patience_s`.
        """
        patience_s = self._options.home_patience_s
        until = time.monotonic() + self._options.home_timeout_s
        state, _ = self._look(patience_s)
        if state is not State.RESTING:  # else it may be ready from an earlier homing
            patiently(self._ask_hold, self._home_wait_s, patience_s)
        state = self._set_out(seed, until)
        while state is State.HOMING:
            if time.monotonic() > until:
                with suppress(DriverFault):  # who called holds again, and hears it
                    self.hold()
                raise DriverFault(
                    f"{self._link.address}: still on its way to the start after robot.driver."
                    f"home_timeout_s, {self._options.home_timeout_s:g} s"
                )
            time.sleep(self.period_s / 2)
            state, missed = self._look(patience_s)
            if state is State.RESTING and missed:
                state = self._set_out(seed, until)
        if state is not State.READY:
            raise DriverFault(
                f"{self._link.address}: the robot came to rest before its start: the hardware "
                "server's log says why"
            )

    def read(self) -> Observation:
        """What the server senses now. The time may be a little too early, never too late."""
        answer, sensed = self._sense()
        if self._guided and sensed.state is not State.GUIDED:
            raise DriverFault(
                f"{self._link.address}: the robot is {sensed.state.name.lower()}, and in nobody's "
                "hands any more: nobody asked for it within its lease, or the hardware failed; the "
                "server's log says why"
            )
        return Observation(
            values=sensed.values,
            sense_ns=self._link.clock.ours(sensed.sense_ns, answer.returned_ns),
            terminated=sensed.terminated,
            signals=sensed.signals,
        )

    def apply(self, action: Array) -> Array:
        """Command one action in answer to the latest `read`; what the server says it sent."""
        self._moves = True
        answer = self._ask(Ask.COMMAND, Say.APPLIED, write_action(action))
        try:
            return read_numbers(answer.reply.body, self._description.action_width)
        except FrameError as error:
            raise DriverFault(f"{self._link.address}: {error}") from error

    def release(self) -> None:
        """Have the server let a person move the robot, for as long as it is read."""
        state, _ = self._look(self._options.home_patience_s)
        if state not in (State.RESTING, State.READY):
            patiently(self._ask_hold, self._home_wait_s, self._options.home_patience_s)
            self._look(self._options.home_patience_s)
        self._moves = True
        try:
            self._ask(Ask.RELEASE, Say.RELEASED, lease_ns=self._home_lease_ns)
        except Refusal as error:
            raise _as_not_offered(error, _GUIDING) from error
        self._guided = True

    def guided_action(self) -> Array:
        """What the server says that the motion to the latest `read` amounts to."""
        return self._by_hand(_GUIDING)

    def teleoperated_action(self) -> Array:
        """What the server says that a person commands now."""
        return self._by_hand(_TELEOPERATION)

    def hold(self) -> None:
        """Have the server say that it holds, asked again until its longest lease has run out.

        Raises `DriverFault` where it does not say so. A server that lives holds by itself by then;
        but one that hangs, was replaced, or moves the robot for somebody else does not, and nothing
        tells these apart from here.
        """
        if not self._link.is_open:
            return
        try:
            patiently(self._ask_hold, self._timeout_s, self._hold_patience_s)
        except Refusal as error:
            if error.code == Code.HARDWARE:
                raise
            raise DriverFault(f"{error}: {_UNHELD}") from error
        except DriverFault as error:
            raise DriverFault(f"{error}: {_UNHELD}") from error

    def close(self) -> None:
        """Hold, and let the server go. One that said that it holds, and was asked for no motion
        since, may be gone or have another client by now: that is no fault."""
        try:
            self.hold()
        except DriverFault as error:
            if self._moves or (isinstance(error, Refusal) and error.code == Code.HARDWARE):
                raise
            log.info("%s; it was at rest when this robot last asked", error)
        finally:
            self._link.close()

    def _by_hand(self, what: str) -> Array:
        try:
            answer = self._ask(Ask.PERSON, Say.DONE_BY_HAND)
            return read_numbers(answer.reply.body, self._description.action_width)
        except Refusal as error:
            raise _as_not_offered(error, what) from error
        except FrameError as error:
            raise DriverFault(f"{self._link.address}: {error}") from error

    def _ask_hold(self, timeout_s: float) -> None:
        self._guided = False  # whatever comes of it: it is to rest
        self._ask(Ask.HOLD, Say.HELD, timeout_s=timeout_s)
        self._moves = False

    def _set_out(self, seed: int, until: float) -> State:
        """Have the server heard that it shall home; what the robot does then.

        It may be busy with that for longer than it may be silent at other times.
        """
        given_up = time.monotonic() + self._options.home_patience_s
        body, lease_ns = write_seed(seed), self._home_lease_ns
        self._moves = True
        while True:
            try:
                self._ask(
                    Ask.HOME, Say.HOMING, body, timeout_s=self._home_wait_s, lease_ns=lease_ns
                )
                return State.HOMING
            except NoAnswer as error:
                problem: DriverFault = error
            except Refusal as error:
                if error.code != Code.LATE:  # else it was under way for too long
                    raise
                problem = error
            state, _ = self._look(max(until - time.monotonic(), 0.0))
            if state is not State.RESTING:
                return state
            if time.monotonic() > given_up:
                raise problem

    def _look(self, patience_s: float) -> tuple[State, bool]:
        """What the robot does while homing, which goes on by that; whether an answer was missed."""

        def sense(timeout_s: float) -> State:
            return self._sense(timeout_s, self._home_lease_ns)[1].state

        return patiently(sense, self._home_wait_s, patience_s)

    def _sense(
        self, timeout_s: float | None = None, lease_ns: int | None = None
    ) -> tuple[Answer, Sensed]:
        answer = self._ask(Ask.SENSE, Say.OBSERVATION, timeout_s=timeout_s, lease_ns=lease_ns)
        try:
            sensed = read_observation(answer.reply.body, self._description)
        except FrameError as error:
            raise DriverFault(f"{self._link.address}: {error}") from error
        if sensed.sense_ns > answer.reply.replied_ns:
            raise DriverFault(
                f"{self._link.address}: an observation was sensed after it was sent: its sense_ns "
                "must be on the server's monotonic clock"
            )
        self._sensed_by = answer.sequence
        return answer, sensed

    def _ask(
        self,
        ask: Ask,
        expected: Say,
        body: bytes = b"",
        timeout_s: float | None = None,
        lease_ns: int | None = None,
    ) -> Answer:
        return self._link.ask(
            ask,
            expected,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            answers=self._sensed_by,
            lease_ns=self._lease_ns if lease_ns is None else lease_ns,
            body=body,
        )


def _as_not_offered(error: Refusal, what: str) -> Refusal | NotOffered:
    """The sentence for a server that does not know how, or whose hardware cannot; else itself."""
    if error.code not in (Code.MALFORMED, Code.UNOFFERED):
        return error
    return NotOffered(
        f"{error}: the hardware server does not offer {what}: give its plant the methods that "
        "docs/drivers.md names, with the newest hardware_rules.py and hardware_frames.py"
    )
