"""`fieldtune study`: its options and examples; the work is train/study's."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import RESUMABLE, report_user_errors

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
]


def study(
    family: Annotated[str, typer.Argument(help="The task family, e.g. cheetah-vel.")],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, …")] = 3,
    preset: Annotated[
        str, typer.Option(help="lean: as the family's file says. reference: the authors' settings.")
    ] = "lean",
    folder: Annotated[
        Path | None, typer.Option("--out", help="Everything is written there.  \\[studies/FAMILY]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The YAML file.  \\[configs/FAMILY.yaml]")
    ] = None,
    runner: Annotated[
        str, typer.Option(help="local: processes of this machine. ray: a Ray cluster.")
    ] = "local",
    methods: Annotated[
        str | None, typer.Option(help="Those to run, e.g. offline,trained,oracle.  \\[all]")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes at once.  \\[one a core; one where seeds share a GPU]"),
    ] = None,
    together: Annotated[  # what seeds learn that share a GPU is not proven yet: docs/gpu.md
        int, typer.Option(min=1, help="Seeds of a method in one process.")
    ] = 1,
    cpus: Annotated[
        int | None,
        typer.Option("--cpus-per-job", min=1, help="Ray: cores that a process takes.  [1]"),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-job",
            min=0,
            max=1,
            help="Ray: the share of a GPU that a process takes, e.g. 0.25.  [1 if there is one]",
        ),
    ] = None,
) -> None:
    """Every method on one family, over seeds: one table, one figure. Run again to resume.

    [bold]Examples[/bold]

      fieldtune study cheetah-vel

      fieldtune study cheetah-vel --seeds 1 --preset lean

      fieldtune study cheetah-vel --methods offline,trained,oracle

      fieldtune study ant-dir --runner ray        # joins the cluster of RAY_ADDRESS

      fieldtune study ant-dir --runner ray --gpus-per-job 0.25      # four jobs share a GPU

      fieldtune study ant-dir --out studies/long self_supervised.steps=200000
    """
    with report_user_errors(RESUMABLE):
        from fieldtune.train.study.command import run_command_line

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what learns is asked to save
        run_command_line(
            family,
            overrides or [],
            seeds=seeds,
            preset=preset,
            folder=folder or Path("studies") / family,
            config=config or Path("configs") / f"{family}.yaml",
            runner_name=runner,
            slots=jobs,
            together=together,
            methods=methods,
            cpus=cpus,
            gpus=gpus,
        )
