"""Recorded data at a place, read by the importer that a mapping names, and held to its contract.

Knows plug-ins and what a mapping needs of the data; not what fields are made of it.
"""

from __future__ import annotations

import glob
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.plugins import NoSuchPlugin, Plugin
from fieldtune.settings import ConfigError
from fieldtune.sim.family import TaskFamily
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.importing.mapping import FieldMapping
from fieldtune.train.importing.recording import RecordedEpisode, Recording

GROUP: Final = "fieldtune.importers"
_SAME_PERIOD = 0.01  # of the family's, by which the data's may differ


@dataclass(frozen=True)
class Recorded:
    """What is at a place: episodes, read one after another, and what is there and never read."""

    episodes: Iterator[RecordedEpisode]
    unread: list[str]


def recorded_at(
    mapping_file: Path, mapping: FieldMapping, family: TaskFamily, place: str
) -> Recorded:
    """Open what lies at `place`, once it is certain that it has the keys and the period.

    Args:
        mapping_file: where `mapping` is from, for errors.
        place: a path, or an id where the format has such.

    Raises:
        UserError: there is no such format, or the data are not what the mapping says.
    """
    try:
        plugin = plugins.find(GROUP, mapping.format)
    except NoSuchPlugin as error:
        raise ConfigError(f"{mapping_file}: 'format' is {mapping.format!r}: {error}") from None
    try:
        recording = _opened(mapping_file, mapping, plugin, place)
        keys = _checked(mapping_file, mapping, family, recording, place)
        return Recorded(_held(plugin, recording, keys, place), list(recording.unread))
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever another package's importer does
        raise _broken(plugin, place, error) from error


def matching(place: str) -> list[str]:
    """The paths that `--from` means; itself where it is no pattern. Raises `DatasetError`."""
    if not glob.has_magic(place):
        return [place]
    found = sorted(glob.glob(place))  # noqa: PTH207 (absolute ones too)
    if not found:
        raise DatasetError(f"--from {place!r} matches nothing: check the path")
    return found


def _opened(mapping_file: Path, mapping: FieldMapping, plugin: Plugin, place: str) -> Recording:
    importer = plugin.load()
    known = inspect.signature(importer)
    try:
        known.bind(place, **mapping.options)
    except TypeError as error:
        names = [*known.parameters][1:]
        raise ConfigError(
            f"{mapping_file}: 'options' are {mapping.options} ({error}); {mapping.format!r} has "
            f"{names or 'none'}"
        ) from None
    opened: Recording = importer(place, **mapping.options)
    return opened


def _checked(
    mapping_file: Path, mapping: FieldMapping, family: TaskFamily, recording: Recording, place: str
) -> frozenset[str]:
    """The keys to read, once they and the period are known to be right."""
    known, needed = recording.keys, set(mapping.keys())
    for key in sorted(needed - set(known)):
        why = next((text for text in recording.unread if text.startswith(repr(key))), "")
        listed = ", ".join(f"{name} ({wide})" for name, wide in sorted(known.items()))
        raise ConfigError(
            f"{mapping_file}: {place} has no key {key!r} of numbers"
            + (f" ({why})" if why else "")
            + f"; there are {listed}"
        )
    period = mapping.period_s if mapping.period_s is not None else recording.period_s
    if period is not None and abs(period / family.period_s - 1.0) > _SAME_PERIOD:
        raise DatasetError(
            f"{place}: a step is {period:.4g} s ({1 / period:.4g} a second), {family.name}'s "
            f"control period is {family.period_s:g} s: resample the data to it; where the file "
            f"says it wrongly, set 'period_s: {family.period_s:g}' in the mapping"
        )
    named = mapping.tasks.name if mapping.tasks is not None else None
    return frozenset(needed | ({named} if named in known and named is not None else set()))


def _held(
    plugin: Plugin, recording: Recording, keys: frozenset[str], place: str
) -> Iterator[RecordedEpisode]:
    """Its episodes, if they are what the contract says."""
    try:
        for episode in recording.episodes(keys):
            shapes = [getattr(episode.columns.get(key), "shape", ()) for key in sorted(keys)]
            if len({shape[:1] for shape in shapes}) > 1 or any(len(shape) != 2 for shape in shapes):
                raise DatasetError(
                    f"{place}: {episode.name}: columns {sorted(keys)} are {shapes}, expected "
                    f"(T, number) of each, all as long: {_whose(plugin)} breaks its contract"
                )
            yield episode
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # as above
        raise _broken(plugin, place, error) from error


def _broken(plugin: Plugin, place: str, error: Exception) -> Exception:
    """For what another package's importer raises; ours raise what they mean."""
    if plugin.built_in:
        return error
    return DatasetError(f"{place}: {_whose(plugin)} failed: {type(error).__name__}: {error}")


def _whose(plugin: Plugin) -> str:
    return f"importer {plugin.name!r} of {plugin.package}"
