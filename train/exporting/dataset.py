"""`fieldtune export-dataset`: a dataset of ours in another format, with the way back.

Beside the data stand `mapping.yaml` and `tasks.json`, by which `fieldtune import` reads them again.
All or nothing: a folder is written whole, or not at all, and never over another one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fieldtune import plain_yaml
from fieldtune.file_errors import naming, require_writable
from fieldtune.files import sync
from fieldtune.sim.family import TaskFamily
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.exporting.lerobot import write_lerobot
from fieldtune.train.exporting.minari import write_minari
from fieldtune.train.exporting.opened import Opened, open_for_export

MAPPING, TASKS = "mapping.yaml", "tasks.json"
FORMATS: Final[Mapping[str, Callable[[Path, Opened], dict[str, Any]]]] = {
    "lerobot": write_lerobot,
    "minari": write_minari,
}


@dataclass(frozen=True)
class Exported:
    """What was written, for a person to read."""

    family: str
    episodes: int
    transitions: int


def export_dataset(
    source: Path, kind: str, out: Path, family: TaskFamily | None = None
) -> Exported:
    """Write the dataset in the folder `source` to the new folder `out`.

    Args:
        kind: one of `FORMATS`.
        family: None: the one that the dataset names.

    Raises:
        DatasetError: no such format, `out` exists, or `source` cannot be exported.
        RecordingError: what the format needs is not installed.
        OSError: with a path.
    """
    if kind not in FORMATS:
        raise DatasetError(f"--format is {kind!r}, expected one of {', '.join(FORMATS)}")
    if out.exists():
        raise DatasetError(f"{out} exists; nothing is overwritten: remove it or choose another")
    require_writable(out)
    data = open_for_export(source, family)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.absolute().with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with naming(out):
            temporary.mkdir()
            mapping = FORMATS[kind](temporary, data)
            (temporary / MAPPING).write_text(plain_yaml.write(mapping), encoding="utf-8")
            (temporary / TASKS).write_text(_tasks(data), encoding="utf-8")
            for path in (*temporary.rglob("*"), temporary):
                sync(path)  # before the name stands for it, which must survive a power cut
            temporary.replace(out)
            sync(out.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    steps = sum(labelled.episode.steps for labelled in data.episodes)
    return Exported(data.family.name, len(data.episodes), steps)


def _tasks(data: Opened) -> str:
    named = {
        split: {text: parameters.tolist() for text, parameters in tasks.items()}
        for split, tasks in data.tasks.items()
    }
    return json.dumps(named, indent=1)
