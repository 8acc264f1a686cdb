"""The wire's promises: what is sent arrives, and no bytes can do more than raise `WireError`."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from fieldtune.robot.bridge import wire

SHA = "0123456789abcdef" * 4

names = st.text(max_size=128)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
times = st.integers(-(2**62), 2**62)
sizes = st.integers(1, wire.MAX_TRANSFER_BYTES)
offsets = st.integers(0, wire.MAX_TRANSFER_BYTES)
chunks = st.binary(min_size=1, max_size=64)
bodies = st.one_of(
    st.builds(wire.Hello, names, names, names),
    st.builds(wire.Heartbeat, times, names, names, st.integers(0, 2**53)),
    st.builds(wire.UploadOffer, hashes, sizes),
    st.builds(wire.UploadChunk, hashes, sizes, offsets, chunks),
    st.builds(wire.BundleRequest, hashes, offsets),
    st.builds(wire.Welcome),
    st.builds(wire.HeartbeatReply, times, times, times, st.none() | hashes),
    st.builds(wire.UploadStatus, hashes, offsets),
    st.builds(wire.UploadDone, hashes),
    st.builds(wire.BundleChunk, hashes, sizes, offsets, chunks),
    st.builds(wire.Stop),
    st.builds(wire.Refusal, st.sampled_from(wire.RefusalKind), names, st.none() | hashes),
)
sessions = st.text(min_size=1, max_size=128)
sequences = st.integers(0, 2**62)


def packed(**changes):
    """A heartbeat as plain data, with some of it changed; None removes a key."""
    fields = {"version": 1, "session": "s", "sequence": 3, "body": heartbeat()} | changes
    return msgspec.msgpack.encode({k: v for k, v in fields.items() if v is not None})


def heartbeat(**changes):
    body = {"type": "heartbeat", "sent_ns": 1, "state": "running", "bundle_id": "", "pending": 0}
    return {k: v for k, v in (body | changes).items() if v is not None}


@given(sessions, sequences, bodies)
def test_every_message_arrives_as_it_was_sent(session, sequence, body):
    message = wire.decode(wire.encode(session, sequence, body))
    assert message == wire.Message(session=session, sequence=sequence, body=body)


@given(st.binary(max_size=400))
def test_random_bytes_are_a_wire_error(payload):
    with pytest.raises(wire.WireError):
        wire.decode(payload)


@given(sessions, sequences, bodies, st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_a_message_or_a_wire_error(session, sequence, body, data):
    payload = bytearray(wire.encode(session, sequence, body))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = wire.decode(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    except wire.WireError:
        return
    assert message.version == wire.VERSION


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["version", "session", "sequence", "body", "x"]), plain))
def test_well_formed_msgpack_that_is_no_message_is_a_wire_error(fields):
    with pytest.raises(wire.WireError):
        wire.decode(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "payload",
    [
        b"\x91" * 100_000,  # arrays within arrays
        b"\x81\xa1x" * 80_000,  # maps within maps
        b"\xdf\xff\xff\xff\xff",  # a map that claims four thousand million keys
        b"\x84\xa7version\xdd\xff\xff\xff\xff",  # an array that claims as many items
        b"\x81\xa7session\xa4\xff\xff\xff\xff",  # text that is not UTF-8
        b"\x81\xa1x\xc6\xff\xff\xff\xff",  # bytes that claim four gigabytes
    ],
)
def test_hostile_msgpack_is_a_wire_error(payload):
    with pytest.raises(wire.WireError):
        wire.decode(payload)


def test_an_unknown_version_is_refused_by_name_whatever_else_has_changed():
    with pytest.raises(wire.WireError, match="wire version 2 is unknown, expected 1") as caught:
        wire.decode(packed(version=2, signature=b"new", body={"type": "telepathy"}))
    assert caught.value.session == "s"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (packed(version=None), "missing required field `version`"),
        (packed(session=None), "missing required field `session`"),
        (packed(sequence=None), "missing required field `sequence`"),
        (packed(body=None), "missing required field `body`"),
        (packed(session=""), "length >= 1"),
        (packed(sequence=-1), "`int` >= 0"),
        (packed(extra=1), "unknown field `extra`"),
        (packed(body=heartbeat(reward=1.0)), "unknown field `reward`"),
        (packed(body=heartbeat(pending=None)), "missing required field `pending`"),
        (packed(body=heartbeat(pending="1")), "Expected `int`, got `str`"),
        (packed(body=heartbeat(state="x" * 129)), "length <= 128"),
        (packed(body={"type": "telepathy"}), "Invalid value 'telepathy'"),
    ],
)
def test_a_wrong_field_is_named(payload, reason):
    with pytest.raises(wire.WireError, match=reason):
        wire.decode(payload)


@pytest.mark.parametrize("sha256", [SHA[:-1], SHA + "\n", SHA.upper(), "../" + SHA[3:], ""])
def test_a_hash_is_64_hexadecimal_digits_and_nothing_else(sha256):
    with pytest.raises(wire.WireError):
        wire.decode(wire.encode("s", 0, wire.UploadOffer(sha256, 1)))


@pytest.mark.parametrize("size", [0, wire.MAX_TRANSFER_BYTES + 1])
def test_a_transfer_has_bounds(size):
    with pytest.raises(wire.WireError):
        wire.decode(wire.encode("s", 0, wire.UploadOffer(SHA, size)))


def test_the_largest_chunk_fits_and_a_larger_one_is_not_sent():
    chunk = wire.UploadChunk(SHA, 2**28, 2**28, bytes(wire.CHUNK_BYTES))
    assert len(wire.encode("s" * 128, 2**62, chunk)) <= wire.MAX_MESSAGE_BYTES
    with pytest.raises(wire.WireError, match="send it in chunks"):
        wire.encode("s", 0, wire.UploadChunk(SHA, 2**28, 0, bytes(wire.MAX_MESSAGE_BYTES)))


def test_an_oversized_message_is_refused_unread():
    with pytest.raises(wire.WireError, match="at most"):
        wire.decode(bytes(wire.MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:5555", "tcp://127.0.0.1:*", "tcp://localhost:1", "tcp://[::1]:9", "ipc:///x"],
)
def test_loopback_is_accepted_with_and_without_keys(address):
    wire.check_address(address, keys=False)
    wire.check_address(address, keys=True)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://*:5555",
        "tcp://0.0.0.0:5555",
        "tcp://192.168.1.7:5555",
        "tcp://127.0.0.1.example.org:5555",
        "tcp://localhost.example.org:5555",
        "tcp://127.0.0.1",
        "tcp://eth0;127.0.0.1:5555",
        "udp://127.0.0.1:5555",
        "",
    ],
)
def test_any_other_address_asks_for_curve_keys(address):
    with pytest.raises(wire.WireError, match="CURVE keys are required"):
        wire.check_address(address, keys=False)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://*:5555",
        "tcp://0.0.0.0:5555",
        "tcp://192.168.1.7:5555",
        "tcp://trainer.lab.example.org:5555",
        "tcp://[2001:db8::7]:5555",
        "tcp://[fe80::1%eth0]:5555",
    ],
)
def test_with_keys_other_machines_may_be_reached(address):
    wire.check_address(address, keys=True)


@pytest.mark.parametrize(
    "address",
    [
        "udp://10.0.0.2:5555",
        "inproc://trainer",
        "ws://10.0.0.2:5555",
        "tcp://10.0.0.2",
        "tcp://a;b:1",
    ],
)
def test_what_zmq_would_not_encrypt_is_refused_with_keys_too(address):
    with pytest.raises(wire.WireError, match="expected tcp://HOST:PORT"):
        wire.check_address(address, keys=True)
