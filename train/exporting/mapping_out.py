"""Parts of the mapping by which an exported dataset is read again. Pure."""

from __future__ import annotations

from typing import Any

from fieldtune.sim.family import Field
from fieldtune.train.importing.units import QUATERNION


def takes(key: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Each field from its place in one key that holds all of them."""
    found, start = {}, 0
    for field in fields:
        end = start + field.width
        found[field.name] = {"from": key, "take": f"{start}:{end}", **form(field)}
        start = end
    return found


def form(field: Field) -> dict[str, Any]:
    """What the mapping of a field must say beside its key."""
    return {"rotation": {"data": "wxyz"}} if field.unit == QUATERNION else {}
