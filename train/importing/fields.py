"""Rows of a recorded episode as fields of a family, as a mapping says. Pure.

Knows columns by key and parts of a mapping; not which file they are from, nor what a task is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fieldtune.sim.family import Array, Field
from fieldtune.train.importing.mapping import Part
from fieldtune.train.importing.recording import RecordedEpisode, RecordingError
from fieldtune.train.importing.units import (
    ANGLES,
    IN_RADIANS,
    ROTATION_WIDTHS,
    between,
    factor,
    turned,
)


@dataclass(frozen=True)
class Rows:
    """`count` rows of an episode, for `place` in errors; `(row, number)` by key.

    Args:
        place: file and episode.
        columns: at least `count` rows a key.
        before: what `minus` takes from an action, as it was before each step; `columns` where None.
        period_s: seconds from row to row, for derivatives.
    """

    place: str
    columns: Mapping[str, Array]
    count: int
    period_s: float
    before: Mapping[str, Array] | None = None


def observed_rows(
    episode: RecordedEpisode, keys: Iterable[str], place: str, period_s: float
) -> Rows:
    """The rows of an observation made of `keys`: one more than steps where all are followed, or
    noted before the first step too."""
    needed = list(keys)
    steps = len(episode.columns[needed[0]]) if needed else 0
    whole = before_steps(episode)
    if not needed or any(key not in (*episode.following, *episode.preceding) for key in needed):
        return Rows(place, whole, steps, period_s)
    for key in set(needed) - set(episode.preceding):
        whole[key] = np.concatenate([whole[key], episode.following[key][None]])
    return Rows(place, whole, steps + 1, period_s)


def before_steps(episode: RecordedEpisode) -> dict[str, Array]:
    """The columns as they were before each step; one row more of what was noted before the first
    and after every one."""
    noted = {
        key: np.concatenate([first[None], episode.columns[key]])
        for key, first in episode.preceding.items()
    }
    return {**episode.columns, **noted}


def columns_of(given: Mapping[str, Sequence[Part]], fields: tuple[Field, ...], rows: Rows) -> Array:
    """The fields side by side, `(row, component)`.

    Raises:
        RecordingError: a field gets another number of components than it has, or rows that are no
            rotation; names place, field, key and cure.
    """
    found = [np.zeros((rows.count, 0))]
    for field in fields:
        parts = [_part(part, field, rows) for part in given[field.name]]
        across = sum(part.shape[1] for part in parts)
        if across != field.width:
            keys = ", ".join(repr(key) for part in given[field.name] for key in part.needs())
            raise RecordingError(
                f"{rows.place}: {field.name!r} gets {across} numbers from {keys or 'a constant'}, "
                f"the field has {field.width}: choose with 'take', or name more parts in a list"
            )
        found += parts
    return np.concatenate(found, axis=1)


def _part(part: Part, field: Field, rows: Rows) -> Array:
    if part.constant is not None:
        return np.tile(np.array(part.constant), (rows.count, 1))
    assert part.key is not None
    where = f"{rows.place}: {field.name!r} from {part.key!r}"
    values = rows.columns[part.key][: rows.count]
    if part.positions is not None:
        chosen = part.positions
        last = chosen[-1] if isinstance(chosen, range) else max(chosen)  # a range may be huge
        if last >= values.shape[1]:
            raise RecordingError(
                f"{where}: 'take' has position {last}, the key has {values.shape[1]} numbers, "
                f"0 to {values.shape[1] - 1}: choose among them"
            )
        values = values[:, list(chosen)]
    per = "/s" if part.derivative else ""
    if part.rotation is not None:
        values = _rotated(part, values, field, where)
    elif part.range is not None:
        values = between(values, part.range.data, part.range.family)
    elif part.unit is not None:
        values = values * (factor(f"{part.unit}{per}", field.unit) or 1.0)
    for name, given in (("scale", part.scale), ("offset", part.offset)):
        if len(given) not in (1, values.shape[1]):
            raise RecordingError(
                f"{where}: {name!r} has {len(given)} numbers for {values.shape[1]} components: "
                "give one, or one each"
            )
        values = values * np.array(given) if name == "scale" else values + np.array(given)
    if part.minus is not None:
        known = rows.columns if rows.before is None else rows.before
        less = _part(part.minus, field, replace(rows, columns=known))
        if less.shape != values.shape:
            raise RecordingError(
                f"{where}: 'minus' gives {less.shape[1]} numbers, to be taken from "
                f"{values.shape[1]}: choose as many with its own 'take'"
            )
        values = values - less
    turn = _full_turn(part, field)
    if turn is not None and part.derivative:
        values = np.unwrap(values / turn, axis=0, period=1.0) * turn
    elif turn is not None and part.minus is not None:
        values = values - np.round(values / turn) * turn
    return _derivative(values, rows.period_s) if part.derivative else values


def _rotated(part: Part, values: Array, field: Field, where: str) -> Array:
    turn = part.rotation
    assert turn is not None
    expected = ROTATION_WIDTHS[turn.data]
    if values.shape[1] != expected:
        raise RecordingError(
            f"{where}: a rotation as {turn.data} is {expected} numbers, there are "
            f"{values.shape[1]}: choose with 'take'"
        )
    try:
        found = turned(values * (factor(part.unit or "rad", "rad") or 1.0), turn.data, turn.family)
    except ValueError as error:
        raise RecordingError(f"{where}: {error}: is 'rotation.data' right?") from None
    if turn.family not in IN_RADIANS:
        return found
    return found * _of_radians(part, field)


def _full_turn(part: Part, field: Field) -> Array | None:
    """What each number of an angle, or of a difference of angles, is the same beyond; in the
    field's unit, scaled as the angle is. None: it is none."""
    if part.rotation is not None and part.rotation.family in (*ANGLES, "rpy"):
        scale = np.abs(np.array(part.scale))
        return 2 * np.pi * _of_radians(part, field) * np.where(scale > 0, scale, 1.0)
    if part.minus is None or part.minus.derivative:
        return None
    return _full_turn(part.minus, field)


def _of_radians(part: Part, field: Field) -> float:
    """How many of the field's unit a radian is, or a radian per second of a derivative."""
    known = factor("rad/s" if part.derivative else "rad", field.unit)
    assert known is not None, "checked by load_mapping"
    return known


def _derivative(values: Array, period_s: float) -> Array:
    """Change per second since the row before; the first row's is that of the second."""
    if len(values) < 2:
        return np.zeros_like(values)
    change = np.diff(values, axis=0) / period_s
    return np.concatenate([change[:1], change])
