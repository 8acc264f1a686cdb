from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.export.archive import ArchiveError, decode, digest, encode

NAMES = ("a.json", "b.onnx")
contents = st.tuples(st.binary(max_size=200), st.binary(max_size=200))


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


@given(contents)
def test_what_was_packed_comes_back(values):
    members = dict(zip(NAMES, values, strict=True))
    assert decode(encode(members), NAMES) == members


@given(contents)
def test_any_zip_tool_opens_it(values):
    members = dict(zip(NAMES, values, strict=True))
    with zipfile.ZipFile(io.BytesIO(encode(members))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert archive.comment == digest(encode(members)).encode()


@given(contents, st.data())
def test_any_flipped_byte_is_refused(values, data):
    packed = bytearray(encode(dict(zip(NAMES, values, strict=True))))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ArchiveError):
        digest(bytes(packed))


@given(contents, st.data())
def test_any_flipped_byte_under_a_right_digest_changes_a_member_or_is_refused(values, data):
    members = dict(zip(NAMES, values, strict=True))
    body = bytearray(encode(members)[:-64])
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ArchiveError):
        decode(sealed(bytes(body)), NAMES)  # crc, offsets and headers all have one right value


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(ArchiveError):
        decode(sealed(data), NAMES)


@given(contents, st.integers(0, 400))
def test_a_cut_file_is_refused_even_with_a_right_digest(values, length):
    body = encode(dict(zip(NAMES, values, strict=True)))[:-64]
    with pytest.raises(ArchiveError):
        decode(sealed(body[: min(length, len(body) - 1)]), NAMES)


def test_what_is_no_bundle_at_all_is_not_called_a_damaged_one():
    with pytest.raises(ArchiveError, match="does not end with a sha256: no bundle"):
        digest(b"robot: {name: arm}\n" * 20)


def test_a_zip_bomb_is_refused_unopened():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.writestr(name, bytes(10_000_000))
    with pytest.raises(ArchiveError, match=r"a\.json"):
        decode(sealed(packed.getvalue()), NAMES)


def test_a_member_that_claims_more_bytes_than_there_are_is_refused():
    packed = bytearray(encode({"a.json": b"{}", "b.onnx": b"x"})[:-64])
    packed[18:22] = packed[22:26] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(ArchiveError, match=r"'a\.json' claims 4294967295 bytes"):
        decode(sealed(bytes(packed)), NAMES)


@pytest.mark.parametrize("members", [{"b.onnx": b"", "a.json": b""}, {"a.json": b""}])
def test_other_members_or_another_order_are_refused(members):
    with pytest.raises(ArchiveError):
        decode(encode(members), NAMES)


def test_a_hidden_extra_member_is_refused():
    with pytest.raises(ArchiveError, match="more or other than"):
        decode(encode({"a.json": b"", "b.onnx": b"", "c": b""}), NAMES)
