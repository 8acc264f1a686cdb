"""`fieldtune export-dataset`: its options; the work is train/exporting/dataset.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors

AGAIN = "stopped; nothing was written"


def export_dataset(
    dataset: Annotated[Path, typer.Argument(help="A dataset's folder.")],
    format_: Annotated[str, typer.Option("--format", help="lerobot or minari.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to be written, a new one.")],
    family: Annotated[
        str | None,
        typer.Option(help="The file of a family of labelled data alone.  \\[the dataset's family]"),
    ] = None,
) -> None:
    """Write a dataset in another format, with the mapping that imports it again.

    [bold]Examples[/bold]

      fieldtune export-dataset data/reach --format lerobot --out data/reach-lerobot

      fieldtune import --family reach --from data/reach-lerobot --out data/again
      --mapping data/reach-lerobot/mapping.yaml --tasks data/reach-lerobot/tasks.json
    """
    with report_user_errors(AGAIN):
        from fieldtune.sim.registry import family as make_family
        from fieldtune.train.exporting.dataset import MAPPING, TASKS
        from fieldtune.train.exporting.dataset import export_dataset as export

        of = None if family is None else make_family(family)
        written = export(dataset, format_, out, of)
    typer.echo(
        f"{out}: {written.episodes} episodes, {written.transitions} transitions of {written.family}"
    )
    typer.echo(f"to read it again: --mapping {out / MAPPING} --tasks {out / TASKS}")
