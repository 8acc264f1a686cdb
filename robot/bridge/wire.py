"""The wire between robot and trainer: what may be said, and how it is packed.

Holds types, their limits and the codec; docs/wire.md tells the story. It knows no sockets, and
nothing of what either side does with a message. Nothing here is ever unpickled.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from fieldtune.errors import UserError
from fieldtune.str_enum import StrEnum

VERSION = 1
CHUNK_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = CHUNK_BYTES + 4096
MAX_TRANSFER_BYTES = 256 * 1024 * 1024

_LOOPBACK = re.compile(r"tcp://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d+|\*)\Z|ipc://.+\Z")
_NETWORK = re.compile(r"tcp://(\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%a-z]+\]):(\d+|\*)\Z")

Name = Annotated[str, msgspec.Meta(max_length=128)]
Session = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_TRANSFER_BYTES)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_TRANSFER_BYTES)]
Chunk = Annotated[bytes, msgspec.Meta(min_length=1, max_length=CHUNK_BYTES)]
Reason = Annotated[str, msgspec.Meta(max_length=1024)]


class WireError(UserError):
    """These bytes are not a message, or this message must not be sent.

    `session` is the sender's, where that much could be read; the sender can be answered then.
    """

    def __init__(self, reason: str, session: str | None = None) -> None:
        super().__init__(reason)
        self.session = session

    @property
    def kind(self) -> str:
        """The same for all errors of one sort, whatever the message was: for rationed logs."""
        return re.sub(r"\d+", "N", str(self).partition(":")[0])


class RefusalKind(StrEnum):
    """What the robot should do about a refusal."""

    HELLO = "hello"  # the trainer does not know this session: introduce yourself again
    LATER = "later"  # it cannot be done now (disk full): try again
    REJECTED = "rejected"  # it will never be done: keep it, and do not offer it again
    MALFORMED = "malformed"  # the message was not understood: a fault of the sender


class _Body(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower
):
    pass


# Robot to trainer


class Hello(_Body, frozen=True):
    """First on every connection."""

    robot: Name
    family: Name
    boot_session: Name


class Heartbeat(_Body, frozen=True):
    """The robot is alive. `bundle_id` is the one in use; `pending` episodes wait for upload."""

    sent_ns: Nanoseconds
    state: Name
    bundle_id: Name
    pending: Count


class UploadOffer(_Body, frozen=True):
    """An episode of `size` bytes is ready. Answered by its status, done, or a refusal."""

    sha256: Sha256
    size: Size


class RewardsOffer(_Body, frozen=True):
    """Rewards of an episode are ready, of `size` bytes. From there on as an episode.

    Trainers before them call it malformed.
    """

    sha256: Sha256
    size: Size


class UploadChunk(_Body, frozen=True):
    """Bytes of what was offered. Taken only where `offset` is what the trainer holds so far."""

    sha256: Sha256
    size: Size
    offset: Offset
    data: Chunk


class BundleRequest(_Body, frozen=True):
    """Send the bundle's bytes from `offset`, one chunk."""

    bundle_id: Sha256
    offset: Offset


# Trainer to robot


class Welcome(_Body, frozen=True):
    """Answers `Hello`; the message's session is this life of the trainer."""


class HeartbeatReply(_Body, frozen=True):
    """Echoes the heartbeat's time, with the trainer's monotonic clock when it came and went."""

    sent_ns: Nanoseconds
    received_ns: Nanoseconds
    replied_ns: Nanoseconds
    newest_bundle: Sha256 | None


class UploadStatus(_Body, frozen=True):
    """The trainer holds the first `offset` bytes."""

    sha256: Sha256
    offset: Offset


class UploadDone(_Body, frozen=True):
    """The whole episode, or its rewards, are stored durably: no need to offer them again."""

    sha256: Sha256


class BundleChunk(_Body, frozen=True):
    """Bytes of a bundle of `size` bytes in all."""

    bundle_id: Sha256
    size: Size
    offset: Offset
    data: Chunk


class Stop(_Body, frozen=True):
    """End the current episode safely, start no other, and leave.

    `emergency` is for a person who sees something wrong: hold at once, and latch a fault.
    """

    emergency: bool = False


class Refusal(_Body, frozen=True):
    """A request was not carried out. `sha256` names the episode or bundle, where there is one."""

    kind: RefusalKind
    reason: Reason
    sha256: Sha256 | None = None


FromRobot = Hello | Heartbeat | UploadOffer | RewardsOffer | UploadChunk | BundleRequest
FromTrainer = Welcome | HeartbeatReply | UploadStatus | UploadDone | BundleChunk | Stop | Refusal
Body = FromRobot | FromTrainer


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What travels. `session` is one life of the sender; `sequence` only ever grows within it."""

    version: int = VERSION
    session: Session
    sequence: Sequence
    body: Body


class _Envelope(msgspec.Struct, frozen=True):
    """The part that every version must keep, so that another one can be refused by name."""

    version: int
    session: Session
    sequence: Sequence


_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)
_message_decoder = msgspec.msgpack.Decoder(Message)


def encode(session: str, sequence: int, body: Body) -> bytes:
    """Pack one message.

    Args:
        session: this life of the sender.
        sequence: the message's number, which only ever grows within the session.
        body: what it says.

    Raises:
        WireError: the message is over the size limit.
    """
    payload = _encoder.encode(Message(session=session, sequence=sequence, body=body))
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireError(
            f"{type(body).__name__} takes {len(payload)} bytes, at most {MAX_MESSAGE_BYTES} are "
            "allowed: send it in chunks",
            session,
        )
    return payload


def decode(payload: bytes) -> Message:
    """Unpack and check one message. Raises `WireError`, and nothing else, for any bytes."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireError(f"{len(payload)} bytes, at most {MAX_MESSAGE_BYTES} are allowed")
    session = None
    try:
        envelope = _envelope_decoder.decode(payload)
        session = envelope.session
        if envelope.version != VERSION:
            raise WireError(
                f"wire version {envelope.version} is unknown, expected {VERSION}: install the same "
                "fieldtune on both machines",
                session,
            )
        return _message_decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"{len(payload)} bytes are not a message: {error}", session) from error


def check_address(address: str, *, keys: bool) -> None:
    """Raises `WireError` for an address that may not be used; both ends call it.

    Without keys that is any address which another machine could reach. With keys it is any that
    ZMQ would not encrypt.
    """
    if _LOOPBACK.match(address):
        return
    if not keys:
        raise WireError(
            f"bridge address {address!r} is not on the loopback interface: beyond it CURVE keys "
            "are required (docs/security.md): make them with `fieldtune keys new` on the trainer, "
            "which then takes --keys FOLDER, and `fieldtune-robot keys new` on the robot, whose "
            "config then takes robot.keys.trainer; without keys expected tcp://127.0.0.1:PORT or "
            "ipc://PATH"
        )
    if not _NETWORK.match(address):
        raise WireError(
            f"bridge address {address!r}: expected tcp://HOST:PORT, or tcp://*:PORT for a trainer "
            "that listens on every interface"
        )
