"""`fieldtune beliefs`: its options and examples; the work is train/reports's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.train.cli.options import Phase

DPI = 100


class Show(StrEnum):
    """What is drawn."""

    EPISODES = "episodes"
    FIRST_EPISODE = "first-episode"
    FILM = "film"


def beliefs(
    run: Annotated[Path, typer.Option("--run", help="The run's folder, phase 1 done.")],
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write.")],
    show: Annotated[
        Show,
        typer.Option(
            help="episodes: after 0 to 4 of own exploration. first-episode: within it, each acting "
            "on what it believes. film: that one by likelihood, with the robot."
        ),
    ] = Show.EPISODES,
    phase: Annotated[Phase, typer.Option(help="Before or after phase 2.")] = Phase.BEFORE,
    task: Annotated[
        list[int] | None,
        typer.Option(help="A training task's number; up to three.  \\[three that lie apart]"),
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option(help="Any other task, by its parameters: 0.55,0.3,0.1")
    ] = None,
) -> None:
    """Draw what the encoder and the decoder's likelihood believe of a few tasks.

    Over the task's own space: a velocity, a direction, a place. Nothing of the run is changed.

    [bold]Examples[/bold]

      fieldtune beliefs --run runs/cheetah-vel --out beliefs.png

      fieldtune beliefs --run runs/cheetah-vel --out beliefs.png --at 0.6 --at 1.5 --at 2.4

      fieldtune beliefs --run runs/reach --out first.png --show first-episode --task 7

      fieldtune beliefs --run runs/reach --out film.png --show film --phase after --at 0.55,0.3,0.1
    """
    with report_user_errors():
        from fieldtune.file_errors import require_writable
        from fieldtune.files import write_atomically
        from fieldtune.train.charts import to_small_png
        from fieldtune.train.reports.belief_pictures import belief_picture, chosen_tasks
        from fieldtune.train.reports.filmstrip import NoPicture
        from fieldtune.train.runs.opening import open_existing
        from fieldtune.train.runs.run import RunError

        require_writable(out)
        opened = open_existing(run)
        tasks = chosen_tasks(opened, task or [], at or [])
        try:
            picture = belief_picture(opened, show.value, phase.value, tasks)
        except NoPicture as error:
            raise RunError(f"--show film needs a picture of the robot: {error}") from error
        write_atomically(out, to_small_png(picture.figure, DPI))
    typer.echo(f"{out}: tasks {', '.join(str(row.round(2).tolist()) for row in tasks)}")
    typer.echo(
        f"from z to the task: off by {picture.map_error:.2g} {picture.unit} in the median, on "
        "training tasks that are left out"
    )
