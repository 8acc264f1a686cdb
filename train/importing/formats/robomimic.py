"""robomimic's HDF5: `data/demo_N` with `obs/…`, `next_obs/…`, `actions`, `rewards`, `dones`.

As robomimic.github.io/docs/datasets/overview.html describes it (0.3 to 0.5). A demonstration's
attributes, and those of `data`, are the episode's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from fieldtune.train.importing.formats.hdf5_tree import attributes, leaves, opened, width
from fieldtune.train.importing.recording import RecordedEpisode, RecordingError, as_rows

BEFORE, AFTER = "obs/", "next_obs/"


class Robomimic:
    """A `Recording`: one file; with `mask`, only the demonstrations that `mask/MASK` lists."""

    def __init__(self, place: str, mask: str | None = None) -> None:
        self._path, self._mask = Path(place), mask

    @cached_property
    def _demos(self) -> list[str]:
        with opened(self._path) as file:
            if "data" not in file:
                raise RecordingError(
                    f"{self._path}: no group 'data', only {sorted(file)}: robomimic's files have "
                    "data/demo_0, …; is it another format?"
                )
            known = sorted(file["data"], key=_number)
            if self._mask is not None:
                masks = sorted(file["mask"]) if "mask" in file else []
                if self._mask not in masks:
                    raise RecordingError(
                        f"{self._path}: 'options.mask' is {self._mask!r}, the file has {masks}"
                    )
                kept = {name.decode() for name in file[f"mask/{self._mask}"][:]}
                known = [name for name in known if name in kept]
            if not known:
                raise RecordingError(f"{self._path}: 'data' has no demonstration")
            return known

    @cached_property
    def _shapes(self) -> dict[str, int | None]:
        demos = self._demos
        with opened(self._path) as file:
            first = file["data"][demos[0]]
            return {key: width(leaf) for key, leaf in leaves(self._path, first)}

    @property
    def keys(self) -> dict[str, int]:
        return {
            key: wide
            for key, wide in self._shapes.items()
            if wide is not None and not key.startswith(AFTER)
        }

    @property
    def period_s(self) -> float | None:
        """By `control_freq` in `env_args`, where it says so."""
        with opened(self._path) as file:
            text = file["data"].attrs.get("env_args", "{}") if "data" in file else "{}"
            try:
                rate = float(json.loads(text)["env_kwargs"]["control_freq"])
            except (ValueError, LookupError, TypeError):
                return None
            return 1.0 / rate if rate > 0 else None

    @property
    def unread(self) -> list[str]:
        pictures = [k for k, wide in self._shapes.items() if wide is None and k.startswith(BEFORE)]
        return [f"{key!r}: not a row of numbers a step (a picture?)" for key in pictures]

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        demos = self._demos
        with opened(self._path) as file:
            shared = attributes(file["data"])
            for name in demos:
                demo = file["data"][name]
                known = dict(leaves(self._path, demo))
                missing = sorted((keys | {"actions"}) - set(known))
                if missing:
                    raise RecordingError(
                        f"{self._path}: {name}: no key {missing[0]!r}, only {sorted(known)}"
                    )
                where, steps = f"{self._path}: {name}:", len(known["actions"])
                columns = {k: as_rows(known[k][:], steps, f"{where} {k!r}") for k in keys}
                after = {k: AFTER + k.removeprefix(BEFORE) for k in keys if k.startswith(BEFORE)}
                following = {
                    key: as_rows(known[later][:], steps, f"{where} {later!r}")[-1]
                    for key, later in after.items()
                    if later in known and steps
                }
                yield RecordedEpisode(name, columns, following, {**shared, **attributes(demo)})


def _number(name: str) -> tuple[int, str]:
    found = re.search(r"\d+$", name)
    return (int(found[0]) if found else -1, name)
