"""LeRobot's datasets, version 3: `meta/info.json`, `data/chunk-*/file-*.parquet`, tasks by text.

As LeRobot 0.4 to 0.6 write them (huggingface.co/docs/lerobot, datasets v3). Read by pyarrow, only
the columns that are asked for, a batch of rows at a time. A frame holds what was observed and the
action that followed; what the last one led to is not recorded. Videos and pictures are never read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.train.importing.recording import RecordedEpisode, RecordingError, as_rows

VERSION = "v3."
EPISODE, TASK, TEXT = "episode_index", "task_index", "task"
_NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
_PICTURES = ("video", "image")


def parquet() -> ModuleType:
    """`pyarrow.parquet`, or the sentence that says how to get it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise RecordingError(
            f"LeRobot's files are Parquet, for which pyarrow is missing ({error}): "
            "pip install 'fieldtune[parquet]'"
        ) from None
    module: ModuleType = pyarrow.parquet
    return module


class LeRobot:
    """A `Recording`: a dataset's folder."""

    def __init__(self, place: str) -> None:
        self._folder = Path(place)

    @cached_property
    def _info(self) -> dict[str, Any]:
        path = self._folder / "meta" / "info.json"
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
            version, features = str(info["codebase_version"]), dict(info["features"])
            rate, shapes = float(info["fps"]), [f["shape"] for f in features.values()]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RecordingError(
                f"{path}: not the description of a LeRobot dataset ({type(error).__name__}: "
                f"{error}): give the folder that holds meta/ and data/"
            ) from None
        if not version.startswith(VERSION):
            raise RecordingError(
                f"{path}: 'codebase_version' is {version!r}, expected 'v3.0': convert it with "
                "LeRobot's own lerobot.scripts.convert_dataset_v21_to_v30"
            )
        if not rate > 0 or not all(isinstance(shape, list) for shape in shapes):
            raise RecordingError(f"{path}: 'fps' is {info['fps']!r}, or a feature has no shape")
        return dict(info)

    @property
    def keys(self) -> dict[str, int]:
        return {
            key: int(feature["shape"][0])
            for key, feature in self._info["features"].items()
            if feature.get("dtype") in _NUMBERS and len(feature["shape"]) == 1
        }

    @property
    def period_s(self) -> float | None:
        return 1.0 / float(self._info["fps"])

    @property
    def unread(self) -> list[str]:
        return [
            f"{key!r}: {feature['dtype']}, which is never read"
            for key, feature in self._info["features"].items()
            if feature.get("dtype") in _PICTURES
        ]

    def episodes(self, keys: frozenset[str]) -> Iterator[RecordedEpisode]:
        texts, lengths = self._tasks(), self._lengths()
        for number, columns in self._by_episode(sorted(keys | {TASK, EPISODE})):
            steps = len(columns[EPISODE])
            if steps != lengths.pop(number, None):
                raise RecordingError(
                    f"{self._folder}: episode {number} has {steps} frames in data/, and other in "
                    "meta/episodes: was the recording cut off? let LeRobot finalize or mend it"
                )
            where = f"{self._folder}: episode {number}:"
            rows = {key: as_rows(columns[key], steps, f"{where} {key!r}") for key in keys}
            known = {int(index) for index in columns[TASK]}
            text = " | ".join(texts.get(index, f"task {index}") for index in sorted(known))
            yield RecordedEpisode(f"episode {number}", rows, {}, {TEXT: text, EPISODE: number})
        if lengths:
            raise RecordingError(
                f"{self._folder}: meta/episodes has episode {min(lengths)} and data/ has not "
                f"({len(lengths)} such): fetch the dataset again"
            )

    def _by_episode(self, names: list[str]) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """Frames of one episode after another, which may go on from one file into the next."""
        pending: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        current: int | None = None
        for batch in self._batches("data", names):
            numbers = batch[EPISODE]
            cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(numbers)]
            for first, end in pairwise(cuts):
                if current is not None and numbers[first] != current:
                    yield current, {name: np.concatenate(p) for name, p in pending.items()}
                    pending = {name: [] for name in names}
                current = int(numbers[first])
                for name in names:
                    pending[name].append(batch[name][first:end])
        if current is not None:
            yield current, {name: np.concatenate(p) for name, p in pending.items()}

    def _tasks(self) -> dict[int, str]:
        """Tasks' texts; LeRobot keeps them as the index of a data frame, under some name."""
        table = parquet_table(self._folder / "meta" / "tasks.parquet")
        names = [name for name in table if name != TASK]
        if TASK not in table or len(names) != 1:
            raise RecordingError(
                f"{self._folder}/meta/tasks.parquet: columns are {sorted(table)}, expected "
                f"{TASK!r} and the tasks' texts"
            )
        return dict(zip(map(int, table[TASK]), map(str, table[names[0]]), strict=True))

    def _lengths(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for batch in self._batches("meta/episodes", [EPISODE, "length"]):
            numbers = (int(number) for number in batch[EPISODE])
            found.update(zip(numbers, (int(length) for length in batch["length"]), strict=True))
        return found

    def _batches(self, folder: str, names: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
        files = sorted((self._folder / folder).glob("chunk-*/file-*.parquet"))
        if not files:
            raise RecordingError(
                f"{self._folder}: no {folder}/chunk-*/file-*.parquet: fetch the whole dataset"
            )
        read = parquet()
        for path in files:
            try:
                with read.ParquetFile(path) as file:
                    missing = sorted(set(names) - set(file.schema_arrow.names))
                    if missing:
                        raise RecordingError(
                            f"{path}: no column {missing[0]!r}, only {file.schema_arrow.names}"
                        )
                    for batch in file.iter_batches(columns=names):
                        yield {name: _numbers(batch.column(name), path, name) for name in names}
            except (OSError, ValueError) as error:  # pyarrow's own derive from ValueError
                raise RecordingError(
                    f"{path}: not a readable Parquet file ({error}); fetch it again"
                ) from None


def parquet_table(path: Path) -> dict[str, list[Any]]:
    """A small Parquet file as lists by column. Raises `RecordingError`."""
    read = parquet()
    try:
        table: dict[str, list[Any]] = read.read_table(path).to_pydict()
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({error}); fetch it again") from None
    return table


def _numbers(column: Any, path: Path, name: str) -> NDArray[Any]:
    """An Arrow array of numbers, or of lists of them that are equally long, by row."""
    if column.null_count:
        raise RecordingError(f"{path}: column {name!r} has {column.null_count} empty frames")
    if not hasattr(column, "flatten"):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    inner = column.flatten()
    if len(column) and (len(inner) % len(column) or _lengths_differ(column)):
        raise RecordingError(f"{path}: column {name!r} has frames of different widths")
    return np.asarray(inner.to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def _lengths_differ(column: Any) -> bool:
    return len(column.value_lengths().unique()) > 1
