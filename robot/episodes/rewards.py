"""Rewards of one episode as bytes of their own, which travel after it.

Knows msgpack and sha256. It must not know where rewards are kept, nor who gave them. An episode's
own bytes and address are the same with rewards and without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec

from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.episode import Said

REWARDS_VERSION = 1

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Index = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class EpisodeRewards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What steps of an episode were worth: `rewards[i]` is that of the transition which began with
    step `steps[i]`.

    `rewards_of` is the episode's content address, `robot` who recorded it, `source` who gave them.
    """

    rewards_of: Sha256
    robot: Said
    source: Said
    steps: list[Index]
    rewards: list[float]
    version: int = REWARDS_VERSION

    def by_step(self) -> dict[int, float]:
        return dict(zip(self.steps, self.rewards, strict=True))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EpisodeRewards)
_BEGINNING = bytes((0x80 | len(EpisodeRewards.__struct_fields__),)) + _encoder.encode("rewards_of")


def pack_rewards(sha256: str, robot: str, source: str, rewards: Mapping[int, float]) -> bytes:
    """The bytes, the same for the same rewards.

    Args:
        sha256: the episode's content address.
        robot: who recorded it.
        source: who gave them.
        rewards: finite numbers by step.
    """
    steps = sorted(rewards)
    return _encoder.encode(
        EpisodeRewards(sha256, robot, source, steps, [float(rewards[step]) for step in steps])
    )


def are_rewards(blob: bytes) -> bool:
    """Whether bytes begin as rewards do, and no episode."""
    return blob.startswith(_BEGINNING)


def unpack_rewards(blob: bytes) -> EpisodeRewards:
    """Raises `EpisodeError` for bytes that are not the rewards of an episode."""
    try:
        found = _decoder.decode(blob)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EpisodeError(f"{len(blob)} bytes are not rewards of an episode: {error}") from error
    if found.version != REWARDS_VERSION:
        raise EpisodeError(
            f"rewards version {found.version} is unknown, expected {REWARDS_VERSION}: install the "
            "same fieldtune on both machines"
        )
    if len(found.steps) != len(found.rewards) or not found.steps:
        raise EpisodeError(f"{len(found.rewards)} rewards are for {len(found.steps)} steps")
    if any(later <= step for step, later in zip(found.steps, found.steps[1:], strict=False)):
        raise EpisodeError("rewards are not in the order of their steps, each once")
    if not all(map(math.isfinite, found.rewards)):
        raise EpisodeError("a reward is no finite number")
    return found
