"""Rewards as bytes: what comes back is what was given, and nothing else is taken for rewards."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.episodes.codec import EpisodeError
from fieldtune.robot.episodes.rewards import (
    EpisodeRewards,
    are_rewards,
    pack_rewards,
    unpack_rewards,
)

OF = "a" * 64
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.integers(0, 2**40), FINITE, min_size=1), st.text(max_size=20))
def test_rewards_come_back_as_they_were_given(rewards, source):
    blob = pack_rewards(OF, "arm", source, rewards)
    assert are_rewards(blob)
    found = unpack_rewards(blob)
    assert (found.rewards_of, found.robot, found.source) == (OF, "arm", source)
    assert found.by_step() == rewards
    assert blob == pack_rewards(OF, "arm", source, dict(reversed(rewards.items())))


@given(st.binary(max_size=200))
def test_other_bytes_are_an_error_and_nothing_worse(noise):
    with pytest.raises(EpisodeError):
        unpack_rewards(noise)


@pytest.mark.parametrize(
    "changes",
    [
        {"rewards": [1.0]},
        {"steps": [1, 0]},
        {"steps": [1, 1]},
        {"steps": [-1, 0]},
        {"rewards": [1.0, float("nan")]},
        {"rewards_of": "b"},
        {"version": 2},
        {"steps": [], "rewards": []},
    ],
)
def test_what_is_not_sound_is_refused(changes):
    sound = EpisodeRewards(OF, "arm", "keys", [0, 1], [1.0, 2.0])
    assert unpack_rewards(msgspec.msgpack.encode(sound)) == sound
    with pytest.raises(EpisodeError):
        unpack_rewards(msgspec.msgpack.encode(msgspec.structs.replace(sound, **changes)))


def test_an_episode_is_not_taken_for_rewards(make_episode):
    assert not are_rewards(msgspec.msgpack.encode(make_episode()))
