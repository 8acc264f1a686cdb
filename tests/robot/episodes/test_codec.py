"""An episode's bytes: the parts join into its own encoding, and what is unsound is explained."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from fieldtune.robot.episodes import codec


@pytest.mark.parametrize("steps", [0, 3, 16, 2**16])
def test_packed_parts_join_into_the_episodes_own_encoding(make_episode, steps):
    episode = make_episode(steps=steps, width=1)
    parts = [codec.pack(step) for step in episode.steps]
    joined = codec.join(codec.pack(episode.header), parts, codec.pack(episode.footer))
    assert joined == msgspec.msgpack.encode(episode)
    assert codec.unpack_episode(joined) == episode


@given(st.binary(max_size=200))
def test_random_bytes_are_never_an_episode(blob):
    with pytest.raises(codec.EpisodeError):
        codec.unpack_episode(blob)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"footer": {"steps": 2}}, "the footer counts 2 steps, the episode has 3"),
        ({"header": {"version": 9}}, "episode version 9 is unknown, expected 1"),
        ({"step": {"index": 7}}, "step 1 carries index 7, expected 1"),
        (
            {"step": {"observation": [0.0]}},
            "'observation' of step 1 is 1 wide",
        ),
    ],
)
def test_an_unsound_episode_is_explained(make_episode, change, reason):
    episode = make_episode()
    replace = msgspec.structs.replace
    if "step" in change:
        steps = list(episode.steps)
        steps[1] = replace(steps[1], **change["step"])
        episode = replace(episode, steps=steps)
    else:
        ((part, values),) = change.items()
        episode = replace(episode, **{part: replace(getattr(episode, part), **values)})
    with pytest.raises(codec.EpisodeError, match=reason):
        codec.unpack_episode(msgspec.msgpack.encode(episode))


@given(st.integers(min_value=0), st.text(max_size=40))
def test_the_head_of_damaged_bytes_still_says_whose_they_were(make_header, make_step, cut, robot):
    header = codec.pack(make_header(7, robot=robot))
    blob = codec.join(header, [codec.pack(make_step(0))] * 3, b"")
    kept = 3 + len("header") + len(header) + len("steps") + cut
    assert codec.unpack_head(blob[:kept]) == make_header(7, robot=robot)


def test_the_name_of_what_follows_may_stand_in_the_head_itself(make_header):
    header = make_header(7, robot="steps", family="header")
    assert codec.unpack_head(codec.join(codec.pack(header), [], b"")) == header


@given(st.binary(max_size=200))
def test_random_bytes_have_no_head(blob):
    with pytest.raises(codec.EpisodeError):
        codec.unpack_head(blob)
