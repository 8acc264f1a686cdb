"""The frames between Fieldtune's `zmq` driver and a hardware server: their layout, server's side.

One file that needs nothing but Python, to be copied to where the hardware is; docs/drivers.md
describes every byte. It must not know the rules, sockets or hardware.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

MAGIC = b"FTHW"
VERSION = 1
MAX_FRAME_BYTES = 64 * 1024
MAX_TEXT_BYTES = 512

_START = struct.Struct("<4sHHQQ")  # magic, version, kind, session, sequence: in every version
_REQUEST = struct.Struct("<4sHHQQQQ")
_REPLY = struct.Struct("<4sHHQQqq")
_OBSERVATION = struct.Struct("<qII")
_REFUSAL = struct.Struct("<II")
_DESCRIPTION = struct.Struct("<QQdIII")
_SEED = struct.Struct("<Q")
_TERMINATED, _SIGNALS = 1, 2


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

    RESTING = 0  # at rest until somebody homes it
    HOMING = 1  # on its way to a start
    READY = 2  # at its start, waiting for a first command
    DRIVEN = 3  # under a command that has not expired
    GUIDED = 4  # in a person's hands; nothing is commanded


@dataclass(frozen=True)
class Field:
    """One named, ordered group of numbers; `low` and `high` have one entry a component."""

    name: str
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Description:
    """What the hardware offers. No command acts for longer than `max_lease_s`."""

    robot: str
    period_s: float
    max_lease_s: float
    observation: tuple[Field, ...]
    action: tuple[Field, ...]
    signals: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Sensed:
    """What was measured, and when: `sense_ns` is on this machine's monotonic clock."""

    values: Sequence[float]
    sense_ns: int
    terminated: bool = False
    signals: Sequence[float] = ()


@dataclass(frozen=True)
class Request:
    """What was asked; `action` of COMMAND, `seed` of HOME."""

    ask: Ask
    session: int
    sequence: int
    answers: int
    lease_ns: int
    seed: int = 0
    action: tuple[float, ...] = field(default=())


class Refused(Exception):
    """A request that is not carried out. `session` and `sequence` say which, where known."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def sender(frame: bytes) -> tuple[int, int] | None:
    """`(session, sequence)` of a frame of any version; None for bytes that are no frame."""
    if not _START.size <= len(frame) <= MAX_FRAME_BYTES:
        return None
    magic, _, _, session, sequence = _START.unpack_from(frame)
    return (session, sequence) if magic == MAGIC else None


def read_request(frame: bytes, action_width: int) -> Request:
    """The request in a frame that has a `sender`. Raises `Refused`, and nothing else."""
    version, kind = struct.unpack_from("<HH", frame, 4)
    if version != VERSION:
        raise Refused(Code.VERSION, f"version {version} is unknown, this server speaks {VERSION}")
    if kind not in Ask._value2member_map_:
        raise Refused(Code.MALFORMED, f"kind {kind} is unknown")
    ask = Ask(kind)
    body = {Ask.HOME: _SEED.size, Ask.COMMAND: 8 * action_width}.get(ask, 0)
    if len(frame) != _REQUEST.size + body:
        raise Refused(
            Code.MALFORMED,
            f"{ask.name} has {len(frame)} bytes, expected {_REQUEST.size + body}",
        )
    _, _, _, session, sequence, answers, lease_ns = _REQUEST.unpack_from(frame)
    seed, action = 0, ()
    if ask is Ask.HOME:
        (seed,) = _SEED.unpack_from(frame, _REQUEST.size)
    elif ask is Ask.COMMAND:
        action = struct.unpack_from(f"<{action_width}d", frame, _REQUEST.size)
    return Request(ask, session, sequence, answers, lease_ns, seed, action)


def write_reply(
    say: Say, sender: tuple[int, int], received_ns: int, replied_ns: int, body: bytes
) -> bytes:
    return _REPLY.pack(MAGIC, VERSION, say, *sender, received_ns, replied_ns) + body


def write_observation(sensed: Sensed, state: State) -> bytes:
    flags = _TERMINATED * bool(sensed.terminated) + _SIGNALS * bool(len(sensed.signals))
    numbers = [*sensed.values, *sensed.signals]
    return _OBSERVATION.pack(sensed.sense_ns, state, flags) + write_numbers(numbers)


def write_numbers(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


def write_refusal(code: Code, reason: str) -> bytes:
    text = reason.encode()[:MAX_TEXT_BYTES]
    return _REFUSAL.pack(code, len(text)) + text


def write_description(description: Description, session: int) -> bytes:
    """The description, with the session that is granted."""
    groups = (description.observation, description.action, description.signals)
    head = _DESCRIPTION.pack(
        session,
        round(description.max_lease_s * 1e9),
        description.period_s,
        *(len(group) for group in groups),
    )
    fields = b"".join(_write_field(item) for group in groups for item in group)
    return head + _write_text(description.robot) + fields


def _write_field(item: Field) -> bytes:
    width = struct.pack("<H", len(item.low))
    numbers = write_numbers([*item.low, *item.high])
    return _write_text(item.name) + _write_text(item.unit) + width + numbers


def _write_text(text: str) -> bytes:
    data = text.encode()
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"{text[:40]!r}... takes {len(data)} bytes, at most {MAX_TEXT_BYTES}")
    return struct.pack("<H", len(data)) + data
