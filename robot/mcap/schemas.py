"""The channels of an exported MCAP file: topics, JSON schemas, and how names split a vector.

Knows MCAP's words but not its library, and not where episodes come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fieldtune.export.manifest import FieldSpec

_TIME = {
    "type": "object",
    "title": "time",
    "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
}


@dataclass(frozen=True)
class Schema:
    """A JSON schema by the name that viewers know it by."""

    name: str
    properties: dict[str, Any]

    @property
    def data(self) -> bytes:
        return json.dumps(
            {
                "title": self.name,
                "type": "object",
                "properties": self.properties,
                "required": list(self.properties),
            }
        ).encode()


# A component that was no finite number is null.
VECTOR = Schema("fieldtune.Vector", {"value": {"type": "array", "items": {"type": "number"}}})
STEP = Schema(
    "fieldtune.Step",
    {
        "episode": {"type": "integer"},
        "index": {"type": "integer"},
        "observation_age_s": {"type": "number"},
        "infer_s": {"type": "number"},
        "apply_s": {"type": "number"},
        "overrun": {"type": "boolean"},
        "reason": {"type": "string"},
    },
)
LOG = Schema(  # Foxglove's own, for its Log panel
    "foxglove.Log",
    {
        "timestamp": _TIME,
        "level": {"type": "integer"},
        "message": {"type": "string"},
        "name": {"type": "string"},
        "file": {"type": "string"},
        "line": {"type": "integer"},
    },
)
INFO, WARNING, ERROR = 2, 3, 4  # foxglove.LogLevel


@dataclass(frozen=True)
class Names:
    """The fields that an episode's vectors are made of, in order, and who says so."""

    observation: Sequence[FieldSpec]
    action: Sequence[FieldSpec]
    source: str


@dataclass(frozen=True)
class Part:
    """One channel's share of a vector."""

    topic: str
    start: int
    stop: int
    unit: str


def split(topic: str, fields: Sequence[FieldSpec], width: int) -> list[Part]:
    """The channels of a vector: `topic/field` for each of its fields.

    Args:
        topic: of the whole vector.
        fields: what it is made of, in order.
        width: how many numbers it has. Where the fields do not make up as many, there is one
            channel, `topic`.
    """
    if sum(field.width for field in fields) != width:
        return [Part(topic, 0, width, "")]
    return list(_parts(topic, fields))


def _parts(topic: str, fields: Sequence[FieldSpec]) -> Iterator[Part]:
    start = 0
    for field in fields:
        yield Part(f"{topic}/{field.name}", start, start + field.width, field.unit)
        start += field.width
