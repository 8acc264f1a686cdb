"""Bytes and text, damaged at random but reproducibly: what disks, networks, people and foes do.

Pure functions of what is given and a `random.Random`. They must not know what the bytes mean.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_WORDS = (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_VALUES = (
    "0", "-1", "1e999", "-1e-999", ".nan", ".inf", "1" + "0" * 400, "9" * 5000, "null", "true",
    "''", "'7'", "[]", "{}", "[[[[[]]]]]", "{a: {b: c}}", "!!python/object:os.system x", "&a [*a]",
    "2026-11-23", "0x10", "\u0000", "\u202e", "\\x85", "*nowhere", "|\n    text", "- 1", "~", "@",
)  # fmt: skip


def damaged(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with a few bytes or bits changed, a part cut, doubled, moved or from one of `others`,
    or nothing but noise."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(200))
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(_WAYS)(changed, chance)
    if others and chance.random() < 0.1:
        other = chance.choice(others)
        at, size = chance.randrange(len(other) + 1), chance.randrange(1, 64)
        start = chance.randrange(len(changed) + 1)
        changed[start : start + size] = other[at : at + size]
    return bytes(changed)


def _flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 9) if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set_bytes(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 4) if data else 0):
        data[chance.randrange(len(data))] = chance.choice((*_EDGES, chance.randrange(256)))


def _set_word(data: bytearray, chance: random.Random) -> None:
    size = chance.choice((4, 8))
    at = chance.randrange(len(data) + 1)
    word = chance.choice(_WORDS) % 2 ** (8 * size)
    data[at : at + size] = word.to_bytes(size, chance.choice(("little", "big")))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.randrange(1, 17)]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randrange(1, 41))


def _double(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = data[at : at + chance.randrange(1, 65)]


def _swap(data: bytearray, chance: random.Random) -> None:
    size = chance.randrange(1, max(2, len(data) // 3))
    first, second = sorted(chance.randrange(max(1, len(data) - size)) for _ in range(2))
    if second - first >= size:
        data[first : first + size], data[second : second + size] = (
            data[second : second + size],
            data[first : first + size],
        )


_WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits, _set_bytes, _set_word, _cut, _remove, _insert, _double, _swap,
)  # fmt: skip


def damaged_yaml(text: str, chance: random.Random) -> bytes:
    """A YAML file that a person has edited badly: lines gone, doubled, moved, indented otherwise,
    values of another kind; or bytes that the disk changed."""
    if chance.random() < 0.2:
        return damaged(text.encode(), chance)
    lines = text.splitlines()
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines)) if lines else 0
        match chance.randrange(7) if lines else 6:
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randrange(len(lines) + 1), lines[at])
            case 2:
                lines[at] = " " * chance.randrange(1, 5) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip() if chance.random() < 0.5 else "\t" + lines[at]
            case 4 if ":" in lines[at]:
                key, _, _ = lines[at].partition(":")
                lines[at] = f"{key}: {chance.choice(_VALUES)}"
            case 5 if ":" in lines[at]:
                key, _, value = lines[at].partition(":")
                where = chance.randrange(len(key) + 1)
                lines[at] = f"{key[:where]}{chance.choice('xX_- .')}{key[where:]}:{value}"
            case _:
                lines.insert(at, f"{chance.choice(('robot', 'seed', 'x', 'data'))}: "
                             f"{chance.choice(_VALUES)}")  # fmt: skip
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
