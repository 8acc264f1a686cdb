"""Reading protobuf's wire format so strictly that no other reader can understand it differently.

A table says which fields a message may have. Any other field, another wire type, a number that is
not in its shortest form, and a single field that comes twice are refused: parsers are free in what
they make of these, and differ. Must not know what the messages mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_CUT = "is cut short or damaged"


class FormError(ValueError):
    """The bytes are not such a message; the text says where they depart from the table."""


@dataclass(frozen=True)
class Field:
    """What a field is called, and the one form it may have.

    `kind` is its wire type, `many` whether it may come more than once. `text` is for bytes that
    are UTF-8, `inside` for bytes that are a message of their own.
    """

    name: str
    kind: int = BYTES
    many: bool = False
    text: bool = False
    inside: Table | None = None


@dataclass(frozen=True)
class Table:
    """A kind of message: its name in errors, and its fields by number."""

    name: str
    fields: Mapping[int, Field]


Message = dict[str, Any]


def read(data: bytes, table: Table, most_fields: int) -> Message:
    """A message by its fields' names; lists where a field may come more than once.

    Fields that are absent are absent, but those that may come often: these are empty. Varints are
    unsigned integers, fixed numbers and plain bytes views of `data`.

    Args:
        data: the message.
        table: what it may hold.
        most_fields: in all messages inside, together; bounds the time that this takes.

    Raises:
        FormError: anything that `table` does not allow.
    """
    return _Reader(most_fields).message(memoryview(data), table)


class _Reader:
    def __init__(self, most_fields: int) -> None:
        self._most = self._left = most_fields

    def message(self, data: memoryview, table: Table) -> Message:
        found: Message = {field.name: [] for field in table.fields.values() if field.many}
        offset = 0
        while offset < len(data):
            self._left -= 1
            if self._left < 0:
                raise FormError(f"holds more than {self._most} fields")
            tag, offset = _varint(data, offset)
            field = table.fields.get(tag >> 3)
            if field is None or field.kind != tag & 7:
                raise FormError(
                    f"holds field {tag >> 3} (wire type {tag & 7}) in a {table.name}, which "
                    "fieldtune does not write"
                )
            value, offset = self._value(data, offset, field)
            if field.many:
                found[field.name].append(value)
            elif field.name in found:
                raise FormError(f"holds {field.name} of a {table.name} twice")
            else:
                found[field.name] = value
        return found

    def _value(self, data: memoryview, offset: int, field: Field) -> tuple[Any, int]:
        if field.kind == VARINT:
            return _varint(data, offset)
        size = 8 if field.kind == FIXED64 else 4
        if field.kind == BYTES:
            size, offset = _varint(data, offset)
        if size > len(data) - offset:
            raise FormError(_CUT)
        value = data[offset : offset + size]
        offset += size
        if field.inside is not None:
            return self.message(value, field.inside), offset
        if field.text:
            return _text(value, field), offset
        return value, offset


def _text(value: memoryview, field: Field) -> str:
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormError(f"holds a {field.name} that is not UTF-8") from error


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    """An unsigned number of up to 64 bits in its shortest form, and where it ends."""
    value = 0
    for index, byte in enumerate(data[offset : offset + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >= 2**64 or (byte == 0 and index):
                raise FormError("holds a number that is not in its shortest form")
            return value, offset + index + 1
    raise FormError(_CUT)
