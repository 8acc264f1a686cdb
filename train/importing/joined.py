"""`fieldtune import --join`: imported tasks behind those of a dataset that is there already.

Knows how data are imported and how two datasets are joined; neither's inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fieldtune.file_errors import require_writable
from fieldtune.sim.family import TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.data.admission import problem_of_all
from fieldtune.train.data.dataset import DatasetError, Split, read_dataset
from fieldtune.train.data.joining import join_datasets, require_joinable
from fieldtune.train.importing.dataset import Gathered, Imported, import_dataset
from fieldtune.train.importing.source import SPLITS, NamedTasks, Source


def require_joined(first: Path, family: TaskFamily, tasks: NamedTasks, sound: Gathered) -> None:
    """Raises what `import_joined` would, of what was gathered; writes nothing."""
    old = read_dataset(first, family)
    split = require_joinable(family, first, old, tasks.split, sound.episodes, tasks.names)
    both: dict[Split, list[LabelledEpisode]] = {}
    for name in SPLITS:
        known = old.train if name == "train" else old.test
        before = [replace(e, task_index=n) for n, task in enumerate(known) for e in task]
        behind = [replace(e, task_index=e.task_index + len(known)) for e in sound.episodes[name]]
        both[name] = before + behind
    if wrong := problem_of_all(family, split, both):
        raise DatasetError(wrong)


def import_joined(
    first: Path,
    folder: Path,
    family: TaskFamily,
    tasks: NamedTasks,
    source: Source,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    *,
    trust_units: bool = False,
) -> Imported:
    """As `import_dataset`, with the tasks and episodes of the dataset `first` before the new ones.

    Returned is what was imported, without what `first` held.

    Raises:
        DatasetError: as `import_dataset` and `join_datasets`; nothing was written.
    """
    if folder.exists():
        raise DatasetError(
            f"{folder} exists; a dataset is never overwritten: remove it or choose another folder"
        )
    require_writable(folder)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.absolute().parent) as beside:
        added = Path(beside) / "added"
        result = import_dataset(added, family, tasks, source, on_progress, trust_units=trust_units)
        return replace(result, id=join_datasets(folder, family, first, added))
