"""`fieldtune film`: its options and examples; the work is train/reports's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import UserError, report_user_errors
from fieldtune.train.cli.options import Phase


def film(
    run: Annotated[
        Path, typer.Option("--run", help="The run's folder, or STUDY/seed-N; phase 1 done.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The file to write: .gif, or .webp, which is smaller.")
    ],
    phase: Annotated[Phase, typer.Option(help="Before or after phase 2.")] = Phase.BEFORE,
    task: Annotated[
        int | None, typer.Option(help="A training task's number.  \\[one in the middle]")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Any other task, by its parameters: 0.55,0.3,0.1")
    ] = None,
    episodes: Annotated[int, typer.Option(min=0, max=100, help="Of exploration.")] = 2,
    every: Annotated[int, typer.Option(min=1, help="So many steps there is a picture.")] = 2,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Pixels a side.")] = 320,
) -> None:
    """Film the robot on one task: before it knows anything, exploring, and adapted.

    In the family's own simulator, at the robot's own pace, by the run's `inference`. Nothing of the
    run is changed.

    [bold]Examples[/bold]

      fieldtune film --run runs/reach --out reach.gif --at 0.55,0.3,0.1

      fieldtune film --run studies/push/seed-0 --out push.webp --episodes 4 --task 7
    """
    with report_user_errors():
        from fieldtune.file_errors import require_writable
        from fieldtune.files import write_atomically
        from fieldtune.train.reports.belief_pictures import chosen_tasks
        from fieldtune.train.reports.films import film_run
        from fieldtune.train.reports.filmstrip import NoPicture
        from fieldtune.train.reports.moving_picture import FORMATS, animated
        from fieldtune.train.runs.opening import open_existing
        from fieldtune.train.runs.run import RunError

        if out.suffix not in FORMATS:
            raise UserError(f"--out {out}: expected a name that ends in {' or '.join(FORMATS)}")
        if task is not None and at is not None:
            raise UserError("--task and --at: one robot is filmed on one task; give one of them")
        require_writable(out)
        opened = open_existing(run)
        asked = chosen_tasks(opened, [] if task is None else [task], [] if at is None else [at])
        chosen = asked[len(asked) // 2]

        def progress(done: int, total: int) -> None:
            typer.echo(f"filmed {done} of {total} episodes", err=True)

        try:
            shots = film_run(opened, phase.value, chosen, episodes, every, size, progress)
        except NoPicture as error:
            raise RunError(f"a film needs a picture of the robot: {error}") from error
        write_atomically(out, animated(shots, opened.family.period_s, out.suffix))
    typer.echo(f"{out}: task {chosen.round(2).tolist()}, {out.stat().st_size / 1e6:.1f} MB")
    for shot in shots:
        typer.echo(f"{shot.title}: {shot.said(len(shot.rewards))}")
