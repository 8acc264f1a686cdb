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
from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.data.joining import join_datasets
from fieldtune.train.importing.dataset import Imported, import_dataset
from fieldtune.train.importing.source import NamedTasks, Source


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
