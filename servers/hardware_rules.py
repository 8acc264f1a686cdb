"""Who may move the hardware, and for how long: the rules that a hardware server keeps.

One file beside hardware_frames.py, to be copied to where the hardware is. It turns a frame into an
answer and knows no sockets; docs/drivers.md tells the rules.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hardware_frames import (
    Ask,
    Code,
    Description,
    Refused,
    Request,
    Say,
    Sensed,
    State,
    read_request,
    sender,
    write_description,
    write_numbers,
    write_observation,
    write_refusal,
    write_reply,
)

log = logging.getLogger("hardware")

_QUIET_NS = 10_000_000_000
_MOVING = (State.HOMING, State.DRIVEN, State.GUIDED)


class Plant(Protocol):
    """The hardware. Every call should return well within a control period; any may raise."""

    def home(self, seed: int) -> None:
        """Set out for the start of an episode; `seed` picks among allowed starts."""
        ...

    def homed(self) -> bool:
        """Whether the start is reached. Asked often while homing."""
        ...

    def sense(self) -> Sensed: ...

    def apply(self, action: Sequence[float]) -> Sequence[float]:
        """Command one action, finite and within its bounds; return what was really sent."""
        ...

    def hold(self) -> None:
        """Enter the safe state: stop where it is, whatever it was doing, homing included.

        Called again and again where it raises.
        """
        ...


class GuidedPlant(Plant, Protocol):
    """Hardware that a person can move by hand: a plant that has these two methods besides."""

    def release(self) -> None:
        """Let a person move it from where it is, until `hold`: its weight carried, nothing
        commanded."""
        ...

    def guided(self) -> Sequence[float]:
        """The action that the motion between the latest two `sense` amounts to."""
        ...


class TeleoperatedPlant(Plant, Protocol):
    """Hardware that a person commands, by a leader arm or a joystick: a plant that has this too."""

    def commanded(self) -> Sequence[float]:
        """The action that the person commands now, within its bounds. Commands nothing itself."""
        ...


class Rules:
    """One plant under one session at a time.

    Call `watch` at least every few milliseconds: it is what brings the hardware to rest.
    """

    def __init__(
        self,
        plant: Plant,
        description: Description,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.state = State.RESTING
        self._plant = plant
        self._description = description
        self._now_ns = now_ns
        self._low = [value for field in description.action for value in field.low]
        self._high = [value for field in description.action for value in field.high]
        self._nonce = 0
        self._session = 0
        self._sequence = 0
        self._observed = (0, 0)  # the latest observation given out: its sequence, and when
        self._expiry_ns = 0
        self._why = "nobody has homed it"
        self._unheld = ""  # why the plant could not hold when it had to
        self._told: dict[str, int] = {}

    def watch(self) -> None:
        """Bring the hardware to rest if what moves it has expired; notice that homing is done."""
        if self._unheld:
            self._hold()
        if self.state is State.HOMING:
            try:
                done = _truth(self._plant.homed())
            except Exception as error:
                self.rest(f"homing failed: {error}")
                return
            if done:
                self.state = State.READY
        if self.state in _MOVING and self._now_ns() >= self._expiry_ns:
            self.rest(f"the lease ran out while {self.state.name.lower()}")

    def rest(self, why: str) -> None:
        """Bring the hardware to its safe state; only homing and a release lead out of it."""
        self._hold()
        if self.state is not State.RESTING:
            log.warning("at rest: %s", why)
        self.state, self._why = State.RESTING, why

    def _hold(self) -> None:
        try:
            self._plant.hold()
        except Exception as error:
            self._unheld = f"the plant cannot hold: {type(error).__name__}: {error}"
            self.tell("hold", "%s: tried again until it does", self._unheld)
        else:
            self._unheld = ""

    def handle(self, frame: bytes) -> bytes | None:
        """The answer to one frame; None for bytes that are no frame."""
        received_ns = self._now_ns()
        self.watch()
        who = sender(frame)
        if who is None:
            self.tell("noise", "%d bytes that are no frame", len(frame))
            return None
        try:
            request = read_request(frame, len(self._low))
            say, body = self._answer(request)
        except Refused as refused:
            self.tell(refused.code.name, "refused (%s): %s", refused.code.name, refused)
            say, body = Say.REFUSED, write_refusal(refused.code, str(refused))
        replied_ns = self._now_ns()
        if say is Say.OBSERVATION:
            self._observed = (who[1], replied_ns)
        return write_reply(say, who, received_ns, replied_ns, body)

    def tell(self, kind: str, message: str, *arguments: object) -> None:
        """Log, but no more than a line of a kind in ten seconds: strangers must not fill a disk."""
        now_ns = self._now_ns()
        if now_ns - self._told.get(kind, -_QUIET_NS) >= _QUIET_NS:
            self._told[kind] = now_ns
            log.warning(message, *arguments)

    def _answer(self, request: Request) -> tuple[Say, bytes]:
        if request.ask is Ask.HELLO:
            return Say.DESCRIPTION, write_description(self._description, self._hello(request))
        if request.session != self._session or not self._session:
            raise Refused(Code.SESSION, "this session does not hold the robot: say hello")
        self._take_sequence(request)
        try:
            return self._carry_out(request)
        except Refused:
            raise
        except Exception as error:
            self.rest(f"the hardware failed: {error}")
            raise Refused(Code.HARDWARE, f"{type(error).__name__}: {error}") from error

    def _carry_out(self, request: Request) -> tuple[Say, bytes]:
        if request.ask is Ask.SENSE:
            renewed = self.state in (State.HOMING, State.GUIDED)
            if renewed and self._expiry(request) > self._now_ns():
                self._expiry_ns = self._expiry(request)
            return Say.OBSERVATION, self._sense()
        if request.ask is Ask.HOLD:
            self.rest("asked to hold")
            self._require_held()
            return Say.HELD, b""
        if request.ask is Ask.HOME:
            self._require_held()
            if self.state is State.GUIDED:
                raise Refused(Code.STATE, "a person has the robot in their hands: hold it first")
            self._require_fresh(request)
            self.state, self._expiry_ns = State.HOMING, self._expiry(request)
            self._plant.home(request.seed)
            return Say.HOMING, b""
        if request.ask is Ask.RELEASE:
            return self._release(request)
        if request.ask is Ask.PERSON:
            return Say.DONE_BY_HAND, self._by_hand()
        if self.state not in (State.READY, State.DRIVEN):
            raise Refused(Code.STATE, f"the robot is {self.state.name.lower()}: {self._why}")
        self._require_sound(request.action)
        self._require_fresh(request)
        self.state, self._expiry_ns = State.DRIVEN, self._expiry(request)
        applied = self._plant.apply(request.action)
        if len(applied) != len(self._low):
            raise ValueError(f"the plant says that it applied {len(applied)} numbers")
        return Say.APPLIED, write_numbers(applied)

    def _release(self, request: Request) -> tuple[Say, bytes]:
        """Into a person's hands, from rest or a start; under a lease that SENSE renews."""
        release = self._besides("release", "being guided by hand")
        self._besides("guided", "being guided by hand")
        if self.state not in (State.RESTING, State.READY):
            raise Refused(Code.STATE, f"the robot is {self.state.name.lower()}: hold it first")
        self._require_held()
        self._require_fresh(request)
        self.state, self._expiry_ns = State.GUIDED, self._expiry(request)
        release()
        return Say.RELEASED, b""

    def _by_hand(self) -> bytes:
        """What the hand did while it guides; else what a person commands."""
        if self.state is State.GUIDED:
            action = self._besides("guided", "being guided by hand")()
        else:
            action = self._besides("commanded", "a person who commands it")()
        if len(action) != len(self._low):
            raise ValueError(f"the plant says that a person did {len(action)} numbers")
        return write_numbers(action)

    def _besides(self, name: str, what: str) -> Callable[[], Any]:
        method = getattr(self._plant, name, None)
        if not callable(method):
            raise Refused(Code.UNOFFERED, f"this hardware does not offer {what}")
        return method

    def _hello(self, request: Request) -> int:
        """The session granted. The same hello again changes nothing; another one takes over."""
        if request.session == self._nonce and self._session:
            self._take_sequence(request)
            return self._session
        if self.state in _MOVING:
            raise Refused(Code.SESSION, "another session moves the robot: wait until it has ended")
        self.rest("another session took over")
        self._nonce, self._session = request.session, secrets.randbits(64) | 1
        self._sequence, self._observed = request.sequence, (0, 0)
        return self._session

    def _take_sequence(self, request: Request) -> None:
        if request.sequence <= self._sequence:
            raise Refused(Code.SEQUENCE, f"sequence {request.sequence} came after {self._sequence}")
        self._sequence = request.sequence

    def _expiry(self, request: Request) -> int:
        """When a request ends to act: its lease counts from the observation that it answers."""
        sequence, observed_ns = self._observed
        if request.answers != sequence or not sequence:
            return 0
        most_ns = round(self._description.max_lease_s * 1e9)
        return observed_ns + min(request.lease_ns, most_ns)

    def _require_held(self) -> None:
        if self._unheld:
            raise Refused(Code.HARDWARE, self._unheld)

    def _require_fresh(self, request: Request) -> None:
        sequence, observed_ns = self._observed
        if request.answers != sequence or not sequence:
            raise Refused(
                Code.LATE, f"answers observation {request.answers}, the latest is {sequence}"
            )
        now_ns = self._now_ns()
        if now_ns >= self._expiry(request):
            raise Refused(
                Code.LATE,
                f"the observation it answers left {(now_ns - observed_ns) / 1e9:.3f} s ago, longer "
                "than its lease",
            )

    def _require_sound(self, action: Sequence[float]) -> None:
        for index, value in enumerate(action):
            if not self._low[index] <= value <= self._high[index]:  # also false for NaN
                raise Refused(
                    Code.VALUE,
                    f"action component {index} is {value:g}, outside "
                    f"[{self._low[index]:g}, {self._high[index]:g}]",
                )

    def _sense(self) -> bytes:
        sensed = self._plant.sense()
        for kind, group, found in (
            ("values", self._description.observation, len(sensed.values)),
            ("signals", self._description.signals, len(sensed.signals)),
        ):
            expected = sum(len(field.low) for field in group)
            if found != expected and (kind == "values" or found):
                raise ValueError(f"the plant senses {found} {kind}, described are {expected}")
        return write_observation(sensed, self.state)


def _truth(answer: object) -> bool:
    """True or False, numpy's included; a text that says "no" is neither."""
    if type(answer).__name__ in ("bool", "bool_"):
        return bool(answer)
    raise TypeError(f"homed() gave {answer!r:.80}, expected True or False")
