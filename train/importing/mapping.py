"""A mapping: which keys of other people's data are which fields of a family. YAML, checked.

Holds what can be written, and whether it fits a family; not how rows are read or computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fieldtune.settings import ConfigError, load
from fieldtune.sim.family import Field as FamilyField
from fieldtune.sim.family import TaskFamily
from fieldtune.train.importing.units import (
    ANGLES,
    IN_RADIANS,
    QUATERNION,
    ROTATION_WIDTHS,
    Angle,
    Rotation,
    convertible,
    factor,
)

_SLICE = re.compile(r"(\d+):(\d+)")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Two numbers of the data, and which numbers of the family they are: a line through both."""

    data: tuple[float, float]
    family: tuple[float, float]

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.data[0] == self.data[1]:
            raise ValueError(
                f"both numbers of 'data' are {self.data[0]:g}: expected two that differ, such as "
                "[0, 1] for a gripper that is closed and open"
            )
        return self


class Turn(_Strict):
    """A rotation: how the data hold it, and how the field wants it."""

    data: Rotation
    family: Angle = "wxyz"


Numbers = Annotated[tuple[float, ...], Field(min_length=1)]


class Part(_Strict):
    """Some numbers of a field: of one key, or a constant.

    In this order: `take` of the key, `rotation`, `unit` or `range`, × `scale` + `offset` (one
    number, or one each), less what `minus` gives; `derivative` takes the change per second.
    """

    key: str | None = Field(default=None, alias="from")
    constant: Numbers | None = None
    take: str | tuple[int, ...] | None = None
    rotation: Turn | None = None
    unit: str | None = None
    range: Range | None = None
    scale: Numbers = (1.0,)
    offset: Numbers = (0.0,)
    minus: Part | None = None
    derivative: bool = False

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if (self.key is None) == (self.constant is None):
            raise ValueError("expected one of 'from' (a key of the data) and 'constant' (numbers)")
        others = self.model_fields_set - {"constant"}
        if self.constant is not None and others:
            raise ValueError(f"a constant is as it is: remove {sorted(others)[0]!r}")
        if self.unit is not None and self.range is not None:
            raise ValueError("'unit' and 'range' both say what a number means: remove one")
        if self.rotation is not None and self.unit is not None and self.rotation.data != "rpy":
            raise ValueError("a rotation has no unit: remove 'unit'")
        if isinstance(self.take, str):
            found = _SLICE.fullmatch(self.take)
            if not found or int(found[1]) >= int(found[2]):
                raise ValueError(
                    f'\'take\' is {self.take!r}: expected "FIRST:END" ("0:3" is the first three) '
                    "or a list of positions, [2, 0, 1]"
                )
        elif self.take is not None and (not self.take or min(self.take) < 0):
            raise ValueError("'take' is a list of positions from 0, at least one")
        return self

    @property
    def positions(self) -> Sequence[int] | None:
        """Which of the key's numbers; None: all."""
        if isinstance(self.take, str):
            first, end = self.take.split(":")
            return range(int(first), int(end))
        return self.take

    def needs(self) -> Iterator[str]:
        """The keys of the data that it needs."""
        if self.key is not None:
            yield self.key
        if self.minus is not None:
            yield from self.minus.needs()


Parts = Annotated[tuple[Part, ...], Field(min_length=1)]


class Tasks(_Strict):
    """What says which task an episode is of: exactly one of the first three."""

    name: str | None = None
    parameters: dict[str, Parts] | None = None
    file: Path | None = None
    held_out: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [key for key in ("name", "parameters", "file") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                "expected one of 'name' (a key or attribute that names the task), 'parameters' "
                "(keys that hold them) and 'file' (a CSV or JSON with a row an episode or file)"
            )
        if self.held_out is not None and given == ["name"]:
            raise ValueError("'held_out' is for 'parameters' and 'file': --tasks has the split")
        return self


class FieldMapping(_Strict):
    """The whole file."""

    format: str
    options: dict[str, Any] = {}
    observation: dict[str, Parts]
    action: dict[str, Parts]
    signals: dict[str, Parts] = {}
    reward: Parts | None = None
    terminated: str | None = None
    tasks: Tasks | None = None
    period_s: float | None = Field(default=None, gt=0)
    longer_episodes: Literal["refuse", "truncate", "cut", "leave out"] = "refuse"

    def keys(self) -> frozenset[str]:
        """The keys of the data that are needed, but for a task's name."""
        parameters = (self.tasks.parameters if self.tasks else None) or {}
        groups = (self.observation, self.action, self.signals, parameters)
        parts = [p for group in groups for several in group.values() for p in several]
        found = {key for part in (*parts, *(self.reward or ())) for key in part.needs()}
        return frozenset(found | ({self.terminated} if self.terminated else set()))


REWARD = FamilyField.unbounded("reward", "")


def load_mapping(path: Path, family: TaskFamily) -> FieldMapping:
    """Read a mapping and check that it gives every field of `family`, in units that are known.

    Raises:
        ConfigError: names file, key, value and cure.
    """
    mapping = load(FieldMapping, path, prepare=written_out)
    _fields(path, "observation", mapping.observation, family.observation_fields, family)
    _fields(path, "action", mapping.action, family.action_fields, family)
    for part in mapping.reward or ():
        _part(f"{path}: 'reward'", part, REWARD)
    if mapping.signals:
        _fields(path, "signals", mapping.signals, family.signal_fields, family)
    if mapping.tasks is not None and mapping.tasks.parameters is not None:
        _fields(path, "tasks.parameters", mapping.tasks.parameters, family.task_fields, family)
        if mapping.tasks.held_out is None:
            raise ConfigError(
                f"{path}: missing key 'tasks.held_out': how many of the tasks in the data are to "
                "be held out for evaluation"
            )
    return mapping


def written_out(values: Any) -> Any:
    """A mapping with its short forms written out: a key for `{from: key}`, one part for a list of
    one, a number for a list of one. What it does not know stays as it is."""
    if not isinstance(values, dict):
        return values
    found = dict(values)
    for name in ("observation", "action", "signals"):
        if isinstance(found.get(name), dict):
            found[name] = {key: _parts(value) for key, value in found[name].items()}
    if found.get("reward") is not None:
        found["reward"] = _parts(found["reward"])
    tasks = found.get("tasks")
    if isinstance(tasks, dict) and isinstance(tasks.get("parameters"), dict):
        parameters = {key: _parts(value) for key, value in tasks["parameters"].items()}
        found["tasks"] = tasks | {"parameters": parameters}
    return found


def _parts(value: Any) -> Any:
    return [_part_of(part) for part in (value if isinstance(value, list) else [value])]


def _part_of(value: Any) -> Any:
    if isinstance(value, str):
        return {"from": value}
    if not isinstance(value, dict):
        return value
    found = dict(value)
    for name in ("constant", "scale", "offset"):
        if isinstance(found.get(name), int | float):
            found[name] = [found[name]]
    if "minus" in found:
        found["minus"] = _part_of(found["minus"])
    return found


def _fields(
    path: Path,
    where: str,
    given: Mapping[str, tuple[Part, ...]],
    fields: tuple[FamilyField, ...],
    family: TaskFamily,
) -> None:
    known = {field.name: field for field in fields}
    of = f"{family.name} ({family.robot})"
    listed = ", ".join(f"{field.name} ({field.width}, {field.unit})" for field in fields)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"it has {listed or 'none'}"
            raise ConfigError(f"{path}: '{where}.{name}' is no field of {of}: {cure}")
    for name, field in known.items():
        if name not in given:
            raise ConfigError(
                f"{path}: missing key '{where}.{name}' ({field.width}, {field.unit}) of {of}: name "
                "what it comes from, or {constant: [...]} where the data have none"
            )
        for part in given[name]:
            _part(f"{path}: '{where}.{name}'", part, field)


def _part(where: str, part: Part, field: FamilyField) -> None:
    unit = part.unit
    if unit is not None:
        per_second = f"{unit}/s" if part.derivative else unit
        wanted = "rad" if part.rotation is not None else field.unit
        if factor(per_second, wanted) is None:
            why = f" ({per_second}, since it is the derivative)" if part.derivative else ""
            raise ConfigError(
                f"{where}: 'unit' is {unit!r}{why}, which is not known to become {wanted!r}: "
                f"expected one of {convertible(wanted)}, or give 'scale'"
            )
    if field.unit == QUATERNION and part.constant is None and part.rotation is None:
        raise ConfigError(
            f"{where} is a quaternion: say how the data hold it, 'rotation: {{data: wxyz}}' or "
            f"{', '.join(kind for kind in ROTATION_WIDTHS if kind not in ('wxyz', *ANGLES))}"
        )
    turn = part.rotation
    if turn is not None and part.derivative and turn.family not in (*ANGLES, "rpy"):
        raise ConfigError(
            f"{where}: 'derivative' of a rotation as {turn.family} is no angular velocity: map the "
            "data's own, or give 'rotation.family' roll, pitch, yaw or rpy"
        )
    if field.unit == QUATERNION and turn is not None and turn.family != "wxyz":
        raise ConfigError(
            f"{where}: 'rotation.family' is {turn.family!r}, but the field is a quaternion, w, x, "
            "y, z: leave 'family' out; 'data' says how the data hold it"
        )
    if turn is not None and turn.family in IN_RADIANS:
        given = "rad/s" if part.derivative else "rad"
        if factor(given, field.unit) is None:
            raise ConfigError(
                f"{where}: 'rotation.family' is {turn.family!r}, in {given}, but the "
                f"field is in {field.unit!r}: map another field, or ask for another form"
            )
    if part.minus is not None:
        _part(f"{where}: 'minus'", part.minus, field)
