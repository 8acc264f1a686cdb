"""The bytes of an episode: how steps are packed, and the address that names a whole episode.

Knows msgpack and sha256; does not know where the bytes are kept or sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from fieldtune.robot.episodes.episode import (
    EPISODE_VERSION,
    Episode,
    EpisodeFooter,
    EpisodeHeader,
    Step,
)

HEAD_BYTES = 65_536  # no header is longer, but for names that nobody gives

_T = TypeVar("_T")

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)

_MAP_OF_3 = b"\x83"
_HEAD_TRIES = 16

_encoder = msgspec.msgpack.Encoder()
_step_decoder = msgspec.msgpack.Decoder(Step)
_header_decoder = msgspec.msgpack.Decoder(EpisodeHeader)
_footer_decoder = msgspec.msgpack.Decoder(EpisodeFooter)
_episode_decoder = msgspec.msgpack.Decoder(Episode)


class EpisodeError(Exception):
    """These bytes are not a whole, sound episode. The message says what is wrong with them."""


def pack(part: Step | EpisodeHeader | EpisodeFooter) -> bytes:
    """One part's msgpack bytes. Raises `TypeError` for values msgpack lacks (numpy scalars)."""
    return _encoder.encode(part)


def unpack_step(record: bytes) -> Step:
    """Raises `EpisodeError` for bytes that are not a `Step`."""
    return _unpack(_step_decoder, record, "a step")


def step_indices(records: Sequence[bytes]) -> list[int]:
    """The index that each packed step carries. Raises `EpisodeError` for bytes that are no `Step`.

    Every number of each is decoded and looked at; the steps are not kept, which saves time.
    """
    try:
        return [_step_decoder.decode(record).index for record in records]
    except (*_UNREADABLE, TypeError):
        return [unpack_step(record).index for record in records]  # says what is wrong


def unpack_header(record: bytes) -> EpisodeHeader:
    """Raises `EpisodeError` for bytes that are not an `EpisodeHeader`."""
    return _unpack(_header_decoder, record, "an episode header")


def unpack_footer(record: bytes) -> EpisodeFooter:
    """Raises `EpisodeError` for bytes that are not an `EpisodeFooter`."""
    return _unpack(_footer_decoder, record, "an episode footer")


def join(header: bytes, steps: Sequence[bytes], footer: bytes) -> bytes:
    """The whole episode's bytes from its packed parts: those that `Episode` itself encodes to.

    Laid side by side and not encoded: the encoder would keep the interpreter for milliseconds, and
    the control loop of the next episode out of it.

    Args:
        header, footer: as `pack` gave them.
        steps: likewise, in order.

    Raises:
        EpisodeError: a part is no bytes, as a damaged file may give.
    """
    names = [_encoder.encode(name) for name in Episode.__struct_fields__]
    many = _array_of(len(steps))
    parts = (_MAP_OF_3, names[0], header, names[1], many, *steps, names[2], footer)
    try:
        return b"".join(parts)
    except TypeError as error:
        raise EpisodeError(f"a part of the episode is not bytes: {error}") from error


def address(blob: bytes) -> str:
    """The content address: lower-case hexadecimal sha256."""
    return hashlib.sha256(blob).hexdigest()


def unpack_episode(blob: bytes) -> Episode:
    """Decode and check a whole episode.

    Raises:
        EpisodeError: not an `Episode`, another version, steps that are not numbered 0, 1, 2, …,
            a footer that counts another number of steps, or vectors that change their width.
    """
    episode: Episode = _unpack(_episode_decoder, blob, "an episode")
    if episode.header.version != EPISODE_VERSION:
        raise EpisodeError(
            f"episode version {episode.header.version} is unknown, expected {EPISODE_VERSION}: "
            "install the same fieldtune on both machines"
        )
    if episode.footer.steps != len(episode.steps):
        raise EpisodeError(
            f"the footer counts {episode.footer.steps} steps, the episode has {len(episode.steps)}"
        )
    for position, step in enumerate(episode.steps):
        if step.index != position:
            raise EpisodeError(f"step {position} carries index {step.index}, expected {position}")
        if position:
            _require_same_widths(episode.steps[0], step)
    return episode


def unpack_head(blob: bytes) -> EpisodeHeader:
    """The header of an episode whose bytes are damaged further on.

    As far as that can be told: nothing says that these bytes are as they were. Raises
    `EpisodeError` where they are no header.
    """
    before, after = (_encoder.encode(name) for name in Episode.__struct_fields__[:2])
    begin = len(_MAP_OF_3) + len(before)
    end = begin
    for _ in range(_HEAD_TRIES):  # the next name may also stand in a robot's own
        end = blob.find(after, end + 1, HEAD_BYTES)
        if end < 0:
            break
        try:
            return unpack_header(blob[begin:end])
        except EpisodeError:
            continue
    raise EpisodeError(f"{len(blob)} bytes do not begin with an episode header")


def _require_same_widths(first: Step, step: Step) -> None:
    for name in ("observation", "requested", "applied", "z"):
        expected, found = len(getattr(first, name)), len(getattr(step, name))
        if found != expected:
            raise EpisodeError(
                f"{name!r} of step {step.index} is {found} wide, that of step 0 is {expected}"
            )


def _array_of(count: int) -> bytes:
    """What msgpack puts before an array's items."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 2**16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _unpack(decoder: msgspec.msgpack.Decoder[_T], record: bytes, what: str) -> _T:
    if not isinstance(record, bytes):
        raise EpisodeError(f"{type(record).__name__} in the place of bytes is not {what}")
    try:
        return decoder.decode(record)
    except _UNREADABLE as error:
        raise EpisodeError(f"{len(record)} bytes are not {what}: {error}") from error
