"""What a hardware server offers, written down: a JSON file beside the robot's settings.

The driver reads it while disconnected, and holds the server against it when connecting, so that
another order of joints is an error and not a motion. It must not know sockets or frames.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from fieldtune.export.manifest import FieldSpec
from fieldtune.files import write_atomically
from fieldtune.regular_file import open_regular
from fieldtune.robot.drivers.driver import DriverFault

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_LARGEST_FILE = 1_000_000


class HardwareDescription(BaseModel):
    """`max_lease_s` is the longest time for which the server lets one command act."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    schema_version: Literal[1] = 1
    robot: str = Field(min_length=1)
    period_s: Positive
    max_lease_s: Positive
    observation_fields: tuple[FieldSpec, ...] = Field(min_length=1)
    action_fields: tuple[FieldSpec, ...] = Field(min_length=1)
    signal_fields: tuple[FieldSpec, ...] = ()

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        for kind, fields in (
            ("observation", self.observation_fields),
            ("action", self.action_fields),
            ("signal", self.signal_fields),
        ):
            names = [field.name for field in fields]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} field {twice[0]!r} is there twice: name each once")
        for field in self.action_fields:
            if not all(map(math.isfinite, field.low + field.high)):
                raise ValueError(
                    f"action field {field.name!r} has a bound that is infinite: a server says how "
                    "far each action may go"
                )
        return self

    @property
    def observation_width(self) -> int:
        return sum(field.width for field in self.observation_fields)

    @property
    def action_width(self) -> int:
        return sum(field.width for field in self.action_fields)

    @property
    def signal_width(self) -> int:
        return sum(field.width for field in self.signal_fields)


def read_description(path: Path, cure: str) -> HardwareDescription:
    """Raises `DriverFault` for a file that is missing or no description; `cure` makes one."""
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        raise DriverFault(
            f"robot.driver.description: no file {path}: make it with {cure}"
        ) from None
    except OSError as error:
        raise DriverFault(f"robot.driver.description: {path}: {error.strerror}") from None
    try:
        return HardwareDescription.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise DriverFault(f"{path}: {where}: {first['msg']}: make it anew with {cure}") from None


def write_description(path: Path, description: HardwareDescription) -> None:
    write_atomically(path, description.model_dump_json(indent=2).encode() + b"\n")


def require_same(written: HardwareDescription, served: HardwareDescription, where: str) -> None:
    """Raises `DriverFault`, naming the first key in which the two differ."""
    for key in HardwareDescription.model_fields:
        mine, theirs = getattr(written, key), getattr(served, key)
        if mine == theirs:
            continue
        if isinstance(mine, tuple):
            mine, theirs = _first_difference(mine, theirs)
        raise DriverFault(
            f"{where} offers {key} {theirs}, the description file says {mine}: serve the hardware "
            "that was meant, or look at what has changed and write the file anew"
        )


def _first_difference(
    mine: tuple[FieldSpec, ...], theirs: tuple[FieldSpec, ...]
) -> tuple[str, str]:
    names = [", ".join(field.name for field in fields) or "none" for fields in (mine, theirs)]
    if names[0] != names[1]:
        return names[0], names[1]
    pair = next((a, b) for a, b in zip(mine, theirs, strict=True) if a != b)
    return f"({pair[0]})", f"({pair[1]})"
