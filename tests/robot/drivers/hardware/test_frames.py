"""Both sides mean the same bytes, and no bytes but those are taken for anything."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import hardware_frames as served  # servers/, on the path by conftest.py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.robot.drivers.faults import FaultOptions
from fieldtune.robot.drivers.hardware import frames as ours
from fieldtune.robot.drivers.hardware.description import HardwareDescription
from fieldtune.robot.drivers.hardware.options import ZmqOptions

INFINITE = float("inf")
DESCRIPTION = served.Description(
    robot="arm",
    period_s=0.05,
    max_lease_s=0.5,
    observation=(
        served.Field("joints", "rad", (-1.0, -2.0), (1.0, 2.0)),
        served.Field("würfel", "", (-INFINITE,), (INFINITE,)),
    ),
    action=(served.Field("torque", "N m", (-1.0,) * 2, (1.0,) * 2),),
    signals=(served.Field("load", "kg", (0.0,), (9.0,)),),
)
uint64 = st.integers(0, 2**64 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)


def offered() -> HardwareDescription:
    return ours.read_description(served.write_description(DESCRIPTION, 1))[1]


@pytest.mark.parametrize("name", ["Ask", "Say", "Code", "State"])
def test_both_sides_number_alike(name):
    mine, theirs = getattr(ours, name), getattr(served, name)
    assert {item.name: item.value for item in mine} == {item.name: item.value for item in theirs}


@given(
    st.sampled_from(list(ours.Ask)),
    uint64,
    uint64,
    uint64,
    uint64,
    uint64,
    st.tuples(floats, floats),
)
def test_a_request_arrives_as_it_was_meant(ask, session, sequence, answers, lease, seed, action):
    body = {
        ours.Ask.HOME: ours.write_seed(seed),
        ours.Ask.COMMAND: ours.write_action(np.array(action)),
    }.get(ask, b"")
    frame = ours.write_request(ask, session, sequence, answers, lease, body)
    request = served.read_request(frame, action_width=2)
    assert served.sender(frame) == (session, sequence)
    assert (request.ask, request.session, request.sequence) == (ask, session, sequence)
    assert (request.answers, request.lease_ns) == (answers, lease)
    if ask is ours.Ask.HOME:
        assert request.seed == seed
    if ask is ours.Ask.COMMAND:
        assert request.action == action


@given(st.sampled_from(list(served.Say)), uint64, uint64, int64, int64, st.binary(max_size=99))
def test_an_answer_arrives_as_it_was_meant(say, session, sequence, received, replied, body):
    frame = served.write_reply(say, (session, sequence), received, replied, body)
    reply = ours.read_reply(frame)
    assert (reply.say, reply.session, reply.sequence) == (say, session, sequence)
    assert (reply.received_ns, reply.replied_ns, reply.body) == (received, replied, body)


@given(
    st.lists(floats, min_size=3, max_size=3), int64, st.booleans(), st.sampled_from([(), (2.5,)])
)
def test_an_observation_arrives_as_it_was_meant(values, sense_ns, terminated, signals):
    sensed = served.Sensed(values, sense_ns, terminated, signals)
    body = served.write_observation(sensed, served.State.DRIVEN)
    read = ours.read_observation(body, offered())
    assert read.values.tolist() == values
    assert (read.sense_ns, read.terminated, read.state) == (sense_ns, terminated, ours.State.DRIVEN)
    assert (read.signals is None) == (signals == ())
    assert read.signals is None or read.signals.tolist() == list(signals)


def test_a_sensor_that_gives_no_number_is_passed_on_for_the_limits_to_see():
    body = served.write_observation(served.Sensed([1.0, math.nan, 2.0], 5), served.State.READY)
    assert math.isnan(ours.read_observation(body, offered()).values[1])


def test_a_description_arrives_as_it_was_meant():
    session, read = ours.read_description(served.write_description(DESCRIPTION, 77))
    assert (session, read.robot, read.period_s, read.max_lease_s) == (77, "arm", 0.05, 0.5)
    for mine, theirs in (
        (read.observation_fields, DESCRIPTION.observation),
        (read.action_fields, DESCRIPTION.action),
        (read.signal_fields, DESCRIPTION.signals),
    ):
        assert [(f.name, f.unit, f.low, f.high) for f in mine] == [
            (f.name, f.unit, f.low, f.high) for f in theirs
        ]


def test_a_refusal_arrives_with_its_reason_cut_to_size():
    assert ours.read_refusal(served.write_refusal(served.Code.LATE, "late")) == (5, "late")
    assert len(ours.read_refusal(served.write_refusal(served.Code.LATE, "ü" * 999))[1]) <= 512


GOOD = [
    served.write_reply(say, (1, 2), 3, 4, body)
    for say, body in (
        (served.Say.DESCRIPTION, served.write_description(DESCRIPTION, 77)),
        (
            served.Say.OBSERVATION,
            served.write_observation(served.Sensed([1.0] * 3, 5, True, [2.0]), served.State.HOMING),
        ),
        (served.Say.APPLIED, served.write_numbers([1.0, 2.0])),
        (served.Say.REFUSED, served.write_refusal(served.Code.LATE, "late")),
    )
]


@st.composite
def mutations(draw, good: list[bytes]) -> bytes:
    frame = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        frame[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


def read_by_driver(frame: bytes) -> None:
    reply = ours.read_reply(frame)
    {
        ours.Say.DESCRIPTION: lambda: ours.read_description(reply.body),
        ours.Say.OBSERVATION: lambda: ours.read_observation(reply.body, offered()),
        ours.Say.APPLIED: lambda: ours.read_numbers(reply.body, 2),
        ours.Say.REFUSED: lambda: ours.read_refusal(reply.body),
    }.get(reply.say, lambda: None)()


@given(st.one_of(mutations(GOOD), st.binary(max_size=300)))
def test_no_bytes_crash_the_driver(frame):
    with contextlib.suppress(ours.FrameError):
        read_by_driver(frame)


ASKED = [
    ours.write_request(ours.Ask.SENSE, 1, 2, 3, 4),
    ours.write_request(ours.Ask.HOME, 1, 2, 3, 4, ours.write_seed(5)),
    ours.write_request(ours.Ask.COMMAND, 1, 2, 3, 4, ours.write_action(np.ones(2))),
]


@given(st.one_of(mutations(ASKED), st.binary(max_size=300)))
def test_no_bytes_crash_the_server(frame):
    if served.sender(frame) is None:
        return
    with contextlib.suppress(served.Refused):
        served.read_request(frame, 2)


def test_the_example_in_the_documentation_is_that_frame():
    page = (Path(__file__).parents[4] / "docs" / "drivers.md").read_text()
    frame = ours.write_request(
        ours.Ask.COMMAND, 0x1122334455667788, 42, 41, 60_000_000, ours.write_action([0.5, -1.0])
    )
    lines = [frame[at : at + 8].hex(" ") for at in range(0, len(frame), 8)]
    assert "\n".join(["```", *lines, "```"]) in page


def test_the_documentation_has_every_kind_code_state_and_fault():
    page = (Path(__file__).parents[4] / "docs" / "drivers.md").read_text()
    for item in (*ours.Ask, *ours.Say):
        assert f"{item.value} {item.name}" in page
    for item in (*ours.Code, *ours.State):
        assert f"{item.value} {item.name.lower()}" in page
    for options in (FaultOptions, ZmqOptions):
        for key in options.model_fields:
            assert f"`{key}`" in page
