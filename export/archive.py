"""The bundle's container: a zip with stored members that has exactly one form for given contents.

Any zip tool opens it. It is written field by field, rather than with `zipfile`, so that the bytes
(hence a bundle's id) do not depend on a Python version. Knows nothing of what the members mean.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping, Sequence

DIGEST_LENGTH = 64  # sha256 in hex, as the zip's comment: the last bytes of the file

_DIGEST = re.compile(rb"[0-9a-f]{64}")
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX = 20, 3 << 8
_FLAGS = _STORED = _TIME = 0
_DATE = (1 << 5) | 1  # 1980-01-01, the earliest a zip can say
_READABLE = 0o100644 << 16


class ArchiveError(ValueError):
    """The bytes are not this project's archive; the message says where they depart from it."""


def encode(members: Mapping[str, bytes]) -> bytes:
    """Pack `members` in their order. The same members give the same bytes, anywhere."""
    headers, end = _frame(members)
    parts = [part for pair in zip(headers, members.values(), strict=True) for part in pair]
    body = b"".join((*parts, end))
    return body + hashlib.sha256(body).hexdigest().encode("ascii")


def digest(data: bytes) -> str:
    """The archive's id, once it is shown to match every byte before it."""
    if len(data) <= DIGEST_LENGTH:
        raise ArchiveError(f"{len(data)} bytes is too short for a bundle")
    if not _DIGEST.fullmatch(data[-DIGEST_LENGTH:]):
        raise ArchiveError("it does not end with a sha256: no bundle, or one that is cut short")
    actual = hashlib.sha256(memoryview(data)[:-DIGEST_LENGTH]).hexdigest()
    if data[-DIGEST_LENGTH:] != actual.encode("ascii"):
        raise ArchiveError("the file's bytes do not match the sha256 it ends with")
    return actual


def count(data: bytes) -> int:
    """How many members the file's end says it has; `decode` holds it against what is there."""
    start = len(data) - DIGEST_LENGTH - _END.size
    if start < 0:
        raise ArchiveError(f"{len(data)} bytes is too short for a bundle")
    members: int = _END.unpack_from(data, start)[4]
    return members


def decode(data: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Unpack members that must be exactly `names`, in that order, in the one form `encode` writes.

    Sizes are only believed as far as there are bytes, and nothing is ever decompressed. The digest
    at the end is `digest`'s.

    Raises:
        ArchiveError: anything else, hidden bytes and compressed members included.
    """
    members: dict[str, bytes] = {}
    found_headers: list[bytes] = []
    offset = 0
    for name in names:
        start = offset + _LOCAL.size + len(name)
        if start > len(data):
            raise ArchiveError(f"the file ends where {name!r} should start")
        magic, *_, size, _, name_length, extra_length = _LOCAL.unpack_from(data, offset)
        found = data[offset + _LOCAL.size : start]
        if (magic, name_length, extra_length, found) != (
            b"PK\x03\x04",
            len(name),
            0,
            name.encode(),
        ):
            raise ArchiveError(f"expected member {name!r} at byte {offset}, found something else")
        if size > len(data) - start:
            raise ArchiveError(
                f"{name!r} claims {size} bytes, only {len(data) - start} follow in the file"
            )
        found_headers.append(data[offset:start])
        members[name] = data[start : start + size]
        offset = start + size
    # All but the contents, which are the file's own: a large bundle is not copied once more.
    if (found_headers, data[offset:-DIGEST_LENGTH]) != _frame(members):
        raise ArchiveError(
            f"the file holds more or other than the stored members {', '.join(names)}"
        )
    return members


def _frame(members: Mapping[str, bytes]) -> tuple[list[bytes], bytes]:
    """What stands before each member's content, and after the last."""
    headers: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, content in members.items():
        raw = name.encode("ascii")
        shared = (_FLAGS, _STORED, _TIME, _DATE, zlib.crc32(content), len(content), len(content))
        header = _LOCAL.pack(b"PK\x03\x04", _VERSION, *shared, len(raw), 0) + raw
        directory.append(
            _CENTRAL.pack(
                b"PK\x01\x02", _UNIX | _VERSION, _VERSION, *shared, len(raw), 0, 0, 0, 0,
                _READABLE, offset,
            )
            + raw
        )  # fmt: skip
        headers.append(header)
        offset += len(header) + len(content)
    central = b"".join(directory)
    end = _END.pack(
        b"PK\x05\x06", 0, 0, len(members), len(members), len(central), offset, DIGEST_LENGTH
    )
    return headers, central + end
