"""What is seen or measured of a MuJoCo model, picked by the names that its file gives.

Knows fields, names and the arrays of `MjData`; no robot, task or reward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from fieldtune.errors import UserError
from fieldtune.sim.family import Array, Field
from fieldtune.sim.physics.bodies import Read

if TYPE_CHECKING:
    import mujoco

Bound = float | tuple[float, ...]
Kind = Literal["joint", "sensor", "site", "body"]

_POSITIONS = {0: 7, 1: 4, 2: 1, 3: 1}  # of mjtJoint: free, ball, slide, hinge
_VELOCITIES = {0: 6, 1: 3, 2: 1, 3: 1}
_NOT_OF_JOINTS = {"deg": "rad", "degrees": "rad", "mm": "m", "cm": "m"}  # and what is
INFINITE = float("inf")


class ModelError(UserError, ValueError):
    """The MJCF cannot be used as the family says. The message names the family and the cure."""


class Pick(Protocol):
    """A field, and how its numbers are read of every copy."""

    @property
    def field(self) -> Field: ...

    def of(self, model: mujoco.MjModel) -> Callable[[Read], Array]:
        """The function that reads it, `(env, width)`. Raises `ModelError`."""
        ...


@dataclass(frozen=True)
class Named:
    """A `Pick` of things by the names that the model gives them, in that order."""

    field: Field
    array: str
    kind: Kind
    names: tuple[str, ...]

    def of(self, model: mujoco.MjModel) -> Callable[[Read], Array]:
        """See `Pick.of`."""
        if self.kind == "joint":
            self._require_mujocos_unit()
        columns = [column for name in self.names for column in self._columns(model, name)]
        if len(columns) != self.field.width:
            raise ModelError(
                f"field {self.field.name!r}: {', '.join(self.names)} are {len(columns)} numbers in "
                f"the model, the field has {self.field.width}: give it width={len(columns)}"
            )

        def read_it(read: Read) -> Array:
            found = read(self.array)
            return found.reshape(len(found), -1)[:, columns]

        return read_it

    def _require_mujocos_unit(self) -> None:
        said, per, second = self.field.unit.partition("/")
        if (of_model := _NOT_OF_JOINTS.get(said)) is not None:
            raise ModelError(
                f"field {self.field.name!r} is in {self.field.unit!r}, and MuJoCo's joints in "
                f"{of_model + per + second!r}: say that, bounds too, and let the driver convert; "
                "or make it with Computed"
            )

    def _columns(self, model: Any, name: str) -> range:
        try:
            found = getattr(model, self.kind)(name)
        except KeyError as error:
            known = str(error.args[0]).partition("Valid names: ")[2]
            raise ModelError(
                f"field {self.field.name!r}: the model has no {self.kind} {name!r}; it has {known}"
            ) from None
        if self.kind == "sensor":
            return range(int(found.adr[0]), int(found.adr[0] + found.dim[0]))
        if self.kind != "joint":
            return range(3 * int(found.id), 3 * int(found.id) + 3)
        at, widths = (
            (found.qposadr, _POSITIONS) if self.array == "qpos" else (found.dofadr, _VELOCITIES)
        )
        return range(int(at[0]), int(at[0]) + widths[int(found.type[0])])


@dataclass(frozen=True)
class Computed:
    """A `Pick` that a function makes: `read("qpos")` gives it any array of `MjData`, `(env, ...)`.

    Attributes:
        field: of what it makes.
        function: of `read`, to `(env, width)`; copies must not mix.
    """

    field: Field
    function: Callable[[Read], Array]

    def of(self, model: mujoco.MjModel) -> Callable[[Read], Array]:  # noqa: ARG002
        """See `Pick.of`."""
        return self.function


def positions(
    name: str,
    unit: str,
    *joints: str,
    width: int | None = None,
    low: Bound = -INFINITE,
    high: Bound = INFINITE,
) -> Named:
    """Joint positions: one number of a hinge (rad) or a slide (m), 4 of a ball, 7 of a free joint.

    Args:
        name, unit: of the field.
        joints: as the model names them.
        width: numbers in all, where that is not one a joint.
        low, high: bounds, one for all numbers or one each.
    """
    return Named(_field(name, unit, width or len(joints), low, high), "qpos", "joint", joints)


def velocities(
    name: str,
    unit: str,
    *joints: str,
    width: int | None = None,
    low: Bound = -INFINITE,
    high: Bound = INFINITE,
) -> Named:
    """Joint velocities: one number of a hinge (rad/s) or a slide (m/s), 3 of a ball, 6 of a free
    joint. Arguments as of `positions`."""
    return Named(_field(name, unit, width or len(joints), low, high), "qvel", "joint", joints)


def sensors(
    name: str,
    unit: str,
    *named: str,
    width: int | None = None,
    low: Bound = -INFINITE,
    high: Bound = INFINITE,
) -> Named:
    """The model's own sensors, as MuJoCo last computed them: with the state that the last physics
    step started from. Arguments as of `positions`."""
    return Named(_field(name, unit, width or len(named), low, high), "sensordata", "sensor", named)


def sites(name: str, *named: str, low: Bound = -INFINITE, high: Bound = INFINITE) -> Named:
    """Where sites are in the world, three numbers each, in m; of the same state as `sensors`."""
    return Named(_field(name, "m", 3 * len(named), low, high), "site_xpos", "site", named)


def bodies(name: str, *named: str, low: Bound = -INFINITE, high: Bound = INFINITE) -> Named:
    """Where bodies are in the world, three numbers each, in m; of the same state as `sensors`."""
    return Named(_field(name, "m", 3 * len(named), low, high), "xpos", "body", named)


def _field(name: str, unit: str, width: int, low: Bound, high: Bound) -> Field:
    lows, highs = (
        tuple(np.broadcast_to(np.asarray(bound, dtype=np.float64), (width,)).tolist())
        for bound in (low, high)
    )
    return Field(name, unit, lows, highs)
