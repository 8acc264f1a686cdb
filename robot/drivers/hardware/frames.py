"""The frames between the `zmq` driver and a hardware server: their layout, driver's side.

docs/drivers.md describes every byte; servers/ has the other side in Python and in C++. It must not
know sockets, nor when what is asked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from pydantic import ValidationError

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import Array
from fieldtune.robot.drivers.hardware.description import HardwareDescription
from fieldtune.robot.timing.clock import SECOND_NS

MAGIC = b"FTHW"
VERSION = 1
MAX_FRAME_BYTES = 64 * 1024

_REQUEST = struct.Struct("<4sHHQQQQ")
_REPLY = struct.Struct("<4sHHQQqq")
_OBSERVATION = struct.Struct("<qII")
_REFUSAL = struct.Struct("<II")
_DESCRIPTION = struct.Struct("<QQdIII")
_SEED = struct.Struct("<Q")
_TERMINATED, _SIGNALS = 1, 2
_NUMBER = np.dtype("<f8")


class Ask(IntEnum):
    """What the driver asks."""

    HELLO = 1
    SENSE = 2
    HOME = 3
    COMMAND = 4
    HOLD = 5
    RELEASE = 6
    PERSON = 7


class Say(IntEnum):
    """What the server answers."""

    DESCRIPTION = 101
    OBSERVATION = 102
    HOMING = 103
    APPLIED = 104
    HELD = 105
    REFUSED = 106
    RELEASED = 107
    DONE_BY_HAND = 108


class Code(IntEnum):
    """Why a request was refused."""

    VERSION = 1
    MALFORMED = 2
    SESSION = 3
    SEQUENCE = 4
    LATE = 5
    STATE = 6
    VALUE = 7
    HARDWARE = 8
    UNOFFERED = 9


class State(IntEnum):
    """What the server lets the hardware do."""

    RESTING = 0
    HOMING = 1
    READY = 2
    DRIVEN = 3
    GUIDED = 4


class FrameError(Exception):
    """These bytes are not what a hardware server says. The message says why."""


@dataclass(frozen=True)
class Reply:
    """A frame's head, and its body as it came. The times are on the server's monotonic clock."""

    say: Say
    session: int
    sequence: int
    received_ns: int
    replied_ns: int
    body: bytes


@dataclass(frozen=True)
class Sensed:
    """The body of OBSERVATION; `sense_ns` is on the server's monotonic clock."""

    values: Array
    sense_ns: int
    state: State
    terminated: bool
    signals: Array | None


def write_request(
    ask: Ask, session: int, sequence: int, answers: int, lease_ns: int, body: bytes = b""
) -> bytes:
    return _REQUEST.pack(MAGIC, VERSION, ask, session, sequence, answers, lease_ns) + body


def write_seed(seed: int) -> bytes:
    return _SEED.pack(seed % 2**64)


def write_action(action: Array) -> bytes:
    return np.asarray(action, dtype=_NUMBER).tobytes()


def read_reply(frame: bytes) -> Reply:
    """Raises `FrameError`, and nothing else, for any bytes."""
    if not _REPLY.size <= len(frame) <= MAX_FRAME_BYTES:
        raise FrameError(f"{len(frame)} bytes are no answer")
    magic, version, kind, session, sequence, received_ns, replied_ns = _REPLY.unpack_from(frame)
    if magic != MAGIC:
        raise FrameError(f"an answer starts with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise FrameError(f"the server speaks version {version}, this driver {VERSION}")
    if kind not in Say._value2member_map_:
        raise FrameError(f"kind {kind} is unknown")
    return Reply(Say(kind), session, sequence, received_ns, replied_ns, frame[_REPLY.size :])


def read_refusal(body: bytes) -> tuple[int, str]:
    """`(code, reason)`. Raises `FrameError`."""
    if len(body) < _REFUSAL.size:
        raise FrameError("a refusal is cut off")
    code, length = _REFUSAL.unpack_from(body)
    if len(body) != _REFUSAL.size + length:
        raise FrameError(f"a refusal of {length} bytes has {len(body) - _REFUSAL.size}")
    return code, body[_REFUSAL.size :].decode("utf-8", "replace")


def read_numbers(body: bytes, width: int) -> Array:
    """`(width,)`, of its own memory. Raises `FrameError`."""
    if len(body) != 8 * width:
        raise FrameError(f"{len(body)} bytes of numbers, expected {width} of 8 bytes")
    return np.frombuffer(body, dtype=_NUMBER).astype(np.float64)


def read_observation(body: bytes, description: HardwareDescription) -> Sensed:
    """Raises `FrameError`. Numbers that are none are passed on: the robot's limits look at them."""
    if len(body) < _OBSERVATION.size:
        raise FrameError("an observation is cut off")
    sense_ns, state, flags = _OBSERVATION.unpack_from(body)
    if state not in State._value2member_map_ or flags & ~(_TERMINATED | _SIGNALS):
        raise FrameError(f"an observation has state {state} and flags {flags}")
    width = description.observation_width
    signals = description.signal_width if flags & _SIGNALS else 0
    numbers = read_numbers(body[_OBSERVATION.size :], width + signals)
    return Sensed(
        values=numbers[:width],
        sense_ns=sense_ns,
        state=State(state),
        terminated=bool(flags & _TERMINATED),
        signals=numbers[width:] if flags & _SIGNALS else None,
    )


def read_description(body: bytes) -> tuple[int, HardwareDescription]:
    """`(session granted, description)`. Raises `FrameError`."""
    reader = _Reader(body)
    session, max_lease_ns, period_s, *counts = _DESCRIPTION.unpack(reader.take(_DESCRIPTION.size))
    robot = reader.text()
    groups = [tuple(reader.field() for _ in range(count)) for count in counts]
    if reader.left:
        raise FrameError(f"a description has {reader.left} bytes too many")
    try:
        description = HardwareDescription(
            robot=robot,
            period_s=period_s,
            max_lease_s=max_lease_ns / SECOND_NS,
            observation_fields=groups[0],
            action_fields=groups[1],
            signal_fields=groups[2],
        )
    except ValidationError as error:
        raise FrameError(f"a description is not sound: {error.errors()[0]['msg']}") from error
    return session, description


class _Reader:
    """Takes a body apart from its start. Every method raises `FrameError` where it is cut off."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise FrameError("a description is cut off")
        self._at += size
        return self._body[self._at - size : self._at]

    def text(self) -> str:
        return self.take(self._short()).decode("utf-8", "replace")

    def field(self) -> FieldSpec:
        name, unit, width = self.text(), self.text(), self._short()
        low, high = (tuple(read_numbers(self.take(8 * width), width).tolist()) for _ in range(2))
        try:
            return FieldSpec(name=name, unit=unit, low=low, high=high)
        except ValidationError as error:
            raise FrameError(f"field {name!r}: {error.errors()[0]['msg']}") from error

    def _short(self) -> int:
        return int.from_bytes(self.take(2), "little")
