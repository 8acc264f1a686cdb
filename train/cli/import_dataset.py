"""`fieldtune import`: its options and examples; the work is train/importing/dataset.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import RESUMABLE, report_user_errors


def import_(
    family: Annotated[str, typer.Option(help="The task family that the data are of.")],
    out: Annotated[Path, typer.Option("--out", help="The dataset's folder, a new one.")],
    hdf5: Annotated[
        str | None, typer.Option(help="HDF5 files, one a task; {task} stands for its name.")
    ] = None,
    minari: Annotated[
        str | None,
        typer.Option(help="Minari datasets, folders or ids; {task} stands for a task's name."),
    ] = None,
    task_attribute: Annotated[
        str | None,
        typer.Option(help="One Minari dataset: the episodes' attribute that names their task."),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="With --task-attribute: a task to leave out; may be repeated."),
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(help="The tasks' names, parameters and split.  [the family's own, by number]"),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Keep every n-th transition.  [HDF5: 7, Minari: 1]")
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="HDF5: of each file, take only the last n rows.")
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option(help="A dataset whose tasks and episodes come first; it stays as it is."),
    ] = None,
    trust_units: Annotated[
        bool,
        typer.Option("--trust-units", help="Take observations far from what the simulator shows."),
    ] = False,
) -> None:
    """Make a dataset of the field's own files (docs/datasets.md).

    [bold]Examples[/bold]

      fieldtune import --family cheetah-vel --tasks tasks.json --out data/macaw --hdf5
      'macaw/buffers_cheetah_vel_train_{task}_sub_task_0.hdf5'

      fieldtune import --family cheetah-vel --out data/mine --minari 'datasets/cheetah-{task}'

      fieldtune import --family cheetah-vel --tasks new.json --join data/mine --out data/more
      --minari 'datasets/cheetah-{task}'
    """
    with report_user_errors(RESUMABLE):
        from functools import partial

        from fieldtune.sim.registry import family as make_family
        from fieldtune.train.alone import making
        from fieldtune.train.console import progress
        from fieldtune.train.data.dataset import DatasetError
        from fieldtune.train.importing.dataset import (
            family_tasks,
            import_dataset,
            read_tasks,
            source_of,
        )
        from fieldtune.train.importing.joined import import_joined

        of = make_family(family)
        source = source_of(of, hdf5, minari, task_attribute, stride, last, leave_out or [])
        if join is not None and tasks is None:
            raise DatasetError("--join adds new tasks: name them with --tasks FILE")
        named = family_tasks(of) if tasks is None else read_tasks(tasks, of)
        with making(out), progress("importing", "tasks") as advance:
            write = import_dataset if join is None else partial(import_joined, join)
            result = write(out, of, named, source, advance, trust_units=trust_units)
    typer.echo(f"{result.id}: {result.episodes} episodes, {result.transitions} transitions")
    for sentence in result.left_out:
        typer.echo(f"left out: {sentence}")
    if result.reward_error is not None:
        typer.echo(
            f"rewards differ from the family's own by {result.reward_error:.3f} of their spread"
            + ("" if result.reward_error < 0.5 else ": are tasks, fields and units right?")
        )
