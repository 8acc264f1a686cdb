"""LeRobot's datasets, version 3, written with pyarrow: what its own library reads.

Layout as LeRobot 0.4 to 0.6 have it (`meta/`, `data/chunk-*/file-*.parquet`). An episode of `T`
steps is `T + 1` frames: the last holds what was observed after the last step, and the action before
once more, with reward 0 and `next.done` true. So nothing that was measured is lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Field, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.exporting.mapping_out import takes
from fieldtune.train.exporting.opened import Labelled, Opened
from fieldtune.train.importing.formats.lerobot import parquet

STATE, ACTION, REWARD, DONE, SIGNALS = (
    "observation.state",
    "action",
    "next.reward",
    "next.done",
    "next.signals",
)
FILE_MB, CHUNK = 100, 1000  # LeRobot's own: a data file's size, and files in a folder
_PATH = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_COUNTED = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def write_lerobot(folder: Path, data: Opened) -> dict[str, Any]:
    """Write `data` into the empty `folder`; return the mapping that reads it again.

    Raises:
        RecordingError: pyarrow is missing.
        OSError: with a path.
    """
    signals = data.family.signal_fields if data.measured else ()
    frames = _Frames(folder, data, signals)
    for labelled in data.episodes:
        frames.add(labelled)
    frames.close()
    return {
        "format": "lerobot",
        "observation": takes(STATE, data.family.observation_fields),
        "action": takes(ACTION, data.family.action_fields),
        **({"signals": takes(SIGNALS, signals)} if signals else {}),
        "reward": REWARD,
        "terminated": DONE,
        "tasks": {"name": "task"},
    }


class _Frames:
    """Data files that are written episode by episode, and what meta/ says of them."""

    def __init__(self, folder: Path, data: Opened, signals: tuple[Field, ...]) -> None:
        self._folder, self._data = folder, data
        self._features = _features(data.family, signals)
        self._texts = {text: index for index, text in enumerate(data.texts)}
        self._known: dict[str, list[Any]] = {name: [] for name in _EPISODE}
        self._seen: dict[str, list[NDArray[Any]]] = {name: [] for name in self._features}
        self._splits: dict[str, list[int]] = {}
        self._writer: Any = None
        self._files = self._frames = 0
        self._bytes = 0

    def add(self, labelled: Labelled) -> None:
        import pyarrow as pa

        number, task = len(self._known["length"]), self._texts[labelled.text]
        columns = _columns(labelled.episode, number, task, self._frames, self._fps)
        columns = {name: columns[name].astype(f["dtype"]) for name, f in self._features.items()}
        table = pa.table({name: _arrow(column) for name, column in columns.items()})
        if self._writer is not None and self._bytes + table.nbytes > FILE_MB * 1024**2:
            self._writer.close()
            self._writer, self._files, self._bytes = None, self._files + 1, 0
        chunk, file = divmod(self._files, CHUNK)
        if self._writer is None:
            path = self._folder / f"data/{_PATH.format(chunk_index=chunk, file_index=file)}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet().ParquetWriter(path, table.schema)
        self._writer.write_table(table)
        self._bytes += table.nbytes
        length = len(columns["index"])
        row = (number, [labelled.text], length, chunk, file, self._frames, self._frames + length)
        for name, value in zip(_EPISODE, (*row, 0, 0), strict=True):
            self._known[name].append(value)
        self._splits.setdefault(labelled.split, []).append(number)
        for name, column in columns.items():
            self._seen[name].append(column.reshape(length, -1))
        self._frames += length

    @property
    def _fps(self) -> float:
        return 1.0 / self._data.family.period_s

    def close(self) -> None:
        import pyarrow as pa

        self._writer.close()
        meta, read = self._folder / "meta", parquet()
        episodes = meta / "episodes" / f"{_PATH.format(chunk_index=0, file_index=0)}.parquet"
        episodes.parent.mkdir(parents=True)
        read.write_table(pa.table(self._known), episodes)
        texts = pa.table({"task_index": list(self._texts.values()), "task": list(self._texts)})
        texts = texts.replace_schema_metadata({"pandas": json.dumps(_INDEXED)})
        read.write_table(texts, meta / "tasks.parquet")
        stats = {name: _statistics(np.concatenate(rows)) for name, rows in self._seen.items()}
        _json(meta / "stats.json", stats)
        _json(meta / "info.json", self._info())

    def _info(self) -> dict[str, Any]:
        rate = round(self._fps, 6)
        return {
            "codebase_version": "v3.0",
            "robot_type": self._data.family.robot,
            "total_episodes": len(self._known["length"]),
            "total_frames": self._frames,
            "total_tasks": len(self._texts),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": FILE_MB,
            "video_files_size_in_mb": 200,
            "fps": int(rate) if rate == int(rate) else rate,
            "splits": {name: f"{of[0]}:{of[-1] + 1}" for name, of in self._splits.items()},
            "data_path": f"data/{_PATH}.parquet",
            "video_path": None,
            "features": self._features,
        }


_EPISODE = (
    "episode_index",
    "tasks",
    "length",
    "data/chunk_index",
    "data/file_index",
    "dataset_from_index",
    "dataset_to_index",
    "meta/episodes/chunk_index",
    "meta/episodes/file_index",
)

# LeRobot reads tasks.parquet by pandas, and wants the texts as the table's index.
_INDEXED = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": of, "metadata": None}
        for name, kind, of in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ],
}


def _features(family: TaskFamily, signals: tuple[Field, ...]) -> dict[str, dict[str, Any]]:
    found = {
        STATE: _feature("float64", _names(family.observation_fields)),
        ACTION: _feature("float64", _names(family.action_fields)),
        REWARD: _feature("float64", None),
        DONE: _feature("bool", None),
    }
    if signals:
        found[SIGNALS] = _feature("float64", _names(signals))
    for name in _COUNTED:
        found[name] = _feature("float32" if name == "timestamp" else "int64", None)
    return found


def _feature(dtype: str, names: list[str] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1 if names is None else len(names)], "names": names}


def _names(fields: tuple[Field, ...]) -> list[str]:
    """A name for every component: the field's, with a number where it has several."""
    return [
        field.name if field.width == 1 else f"{field.name}.{index}"
        for field in fields
        for index in range(field.width)
    ]


def _columns(
    episode: LabelledEpisode, number: int, task: int, before: int, fps: float
) -> dict[str, NDArray[Any]]:
    """Frames of one episode, `(T + 1, …)` by feature."""
    steps = np.arange(episode.steps + 1)
    done = np.zeros(len(steps), bool)
    done[-1], done[-2] = True, episode.terminated
    found: dict[str, NDArray[Any]] = {
        STATE: episode.observations,
        ACTION: _once_more(episode.actions),
        REWARD: np.append(episode.rewards, 0.0),
        DONE: done,
        "timestamp": steps / fps,
        "frame_index": steps,
        "episode_index": np.full(len(steps), number),
        "index": before + steps,
        "task_index": np.full(len(steps), task),
    }
    if episode.signals is not None:
        found[SIGNALS] = _once_more(episode.signals)
    return found


def _once_more(rows: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([rows, rows[-1:]])


def _arrow(column: NDArray[Any]) -> Any:
    """A column of numbers, or of lists of them; lists of one are numbers, as LeRobot has it."""
    import pyarrow as pa

    if column.ndim == 1 or column.shape[1] == 1:
        return pa.array(column.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _statistics(rows: NDArray[Any]) -> dict[str, list[Any]]:
    numbers = rows.astype(np.float64)
    found = {
        "min": numbers.min(axis=0).tolist(),
        "max": numbers.max(axis=0).tolist(),
        "mean": numbers.mean(axis=0).tolist(),
        "std": numbers.std(axis=0).tolist(),
        "count": [len(numbers)],
    }
    return found | {
        name: np.quantile(numbers, share, axis=0).tolist() for name, share in _QUANTILES.items()
    }


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4), encoding="utf-8")
