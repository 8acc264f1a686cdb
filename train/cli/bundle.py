"""`fieldtune bundle`: what `fieldtune-robot bundle` does, and what needs the workstation: `convert`
and `evaluate`. Imports what a command needs when it runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldtune.errors import report_user_errors
from fieldtune.robot.cli import bundle as on_robot

if TYPE_CHECKING:
    from fieldtune.export.bundle import Bundle

SAMPLES = 2048


class To(StrEnum):
    """What a bundle is converted to."""

    FP16 = "fp16"
    INT8 = "int8"
    STATIC = "static"
    OPENVINO = "openvino"
    ROS2_CONTROL = "ros2-control"


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Bundles: what one is for, whether it is sound, how fast it runs, what changed; and other
    forms of one for the computer on board.

    [bold]Examples[/bold]

      fieldtune bundle inspect reach.bundle

      fieldtune bundle diff old.bundle new.bundle

      fieldtune bundle convert reach.bundle --to static --out static.bundle

      fieldtune bundle convert reach.bundle --to fp16 --tolerance 1e-3 --out fp16.bundle --run runs/reach

      fieldtune bundle evaluate reach.bundle fp16.bundle --run runs/reach
    """,  # noqa: E501
)
app.command()(on_robot.inspect)
app.command()(on_robot.verify)
app.command()(on_robot.bench)
app.command()(on_robot.diff)
app.command()(on_robot.limits)


@app.command()
def convert(
    bundle: on_robot.File,
    to: Annotated[
        To,
        typer.Option(
            help="fp16, int8: the layers between the first and the last. static: batch 1. "
            "openvino: a folder of its own files. ros2-control: a folder for its "
            "onnx_policy_controller."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The bundle file, or the folder, to write.")],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", help="Measure on this run's data.  \\[draws within the bundle's ranges]"
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="The largest relative difference.  \\[what the bundle allows; static: 1e-5]"
        ),
    ] = None,
    wiring: Annotated[
        Path | None,
        typer.Option("--wiring", help="For ros2-control: a YAML file about the robot."),
    ] = None,
) -> None:
    """Write another form of a bundle, once it is measured to be near enough."""
    with report_user_errors():
        from fieldtune.export.bundle import pack_bundle, read_bundle
        from fieldtune.export.convert import convert as converted
        from fieldtune.export.differences import WITHIN, samples_within
        from fieldtune.export.manifest import PARITY_LIMIT
        from fieldtune.file_errors import require_other, require_writable
        from fieldtune.files import write_atomically

        found = read_bundle(bundle)
        require_other(out, bundle)
        _require_options(to, run=run, tolerance=tolerance, wiring=wiring)
        folder = to in (To.OPENVINO, To.ROS2_CONTROL)
        require_writable(out / "manifest.json" if folder else out)
        if wiring is not None:
            _to_ros2_control(found, wiring, out)
            return
        if run is None:
            samples = samples_within(found.manifest, found.graphs["decoder.onnx"], SAMPLES)
            described = WITHIN
        else:
            from fieldtune.train.runs.bundle_samples import dataset_samples
            from fieldtune.train.runs.opening import open_existing

            opened = open_existing(run)
            samples = dataset_samples(opened, found.manifest, SAMPLES)
            described = f"dataset {opened.dataset.id}"
        if tolerance is None:  # nothing is rounded where the batch alone is fixed
            tolerance = PARITY_LIMIT if to is To.STATIC else found.manifest.tolerance
        if to is To.OPENVINO:
            from fieldtune.export.openvino_folder import write_openvino

            measured = write_openvino(found, out, samples, described, tolerance)
            typer.echo(f"{out}: OpenVINO's files of {found.id}")
        else:
            form: Any = to.value
            made = converted(found, form, samples, described, tolerance)
            out.parent.mkdir(parents=True, exist_ok=True)  # as `fieldtune export`
            write_atomically(out, pack_bundle(made.manifest, made.graphs))
            measured = made.manifest.conversions[-1].difference
            typer.echo(f"{out}: {made.id}")
    typer.echo(f"largest relative differences, on {described}:")
    for name, difference in measured.items():
        typer.echo(f"  {name:<26} {difference.relative:.1e}")


def _require_options(to: To, **given: object) -> None:
    """Raise `UserError` for an option that the form does not read, or lacks."""
    from fieldtune.errors import UserError

    if to is To.ROS2_CONTROL and given["wiring"] is None:
        raise UserError(
            "--to ros2-control needs --wiring FILE: joints, what is observed, the standing pose, z"
        )
    unread = {"run", "tolerance"} if to is To.ROS2_CONTROL else {"wiring"}
    for name in sorted(unread):
        if given[name] is not None:
            raise UserError(f"--to {to.value} does not read --{name}: leave it out")


def _to_ros2_control(found: Bundle, wiring: Path, out: Path) -> None:
    from fieldtune.export.ros2_control import Wiring, write_ros2_control
    from fieldtune.settings import load

    write_ros2_control(found, load(Wiring, wiring), out)
    typer.echo(f"{out}: policy.onnx and controllers.yaml of {found.id}, not tried on hardware")


@app.command()
def evaluate(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE...", help="The first is what others are held against."),
    ],
    run: Annotated[Path, typer.Option("--run", help="The folder of the run they are from.")],
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Trials of each task.  \\[the run's evaluation.repeats]"),
    ] = None,
) -> None:
    """What bundles return on the run's held-out tasks, computed as a robot computes it.

    Each adapts from two episodes of its own exploration with true rewards. Intervals are at 95 %,
    over tasks; the same start states and draws for all.
    """
    with report_user_errors():
        from fieldtune.export.bundle import BundleMismatch, read_bundle
        from fieldtune.sim.label_only import require_simulator
        from fieldtune.train.evaluation.on_board import measure_bundle
        from fieldtune.train.evaluation.statistics import mean, over_tasks
        from fieldtune.train.runs.bundle_samples import require_fit
        from fieldtune.train.runs.opening import open_existing

        opened = open_existing(run)
        require_simulator(opened.family, "fieldtune bundle evaluate")
        first, read = None, []
        for path in bundles:  # all of them before minutes are spent on the first
            read.append(read_bundle(path))
            try:
                require_fit(opened, read[-1].manifest)
            except BundleMismatch as error:
                raise BundleMismatch(f"bundle {path}: {error}") from error
        for path, one in zip(bundles, read, strict=True):
            found = measure_bundle(opened, one, repeats)
            cells = over_tasks(found.returns)
            told = mean(cells)
            text = f"{path}: return {told.value:.2f} [{told.low:.2f}, {told.high:.2f}]"
            if found.successes is not None:
                share = mean(over_tasks(found.successes))
                text += f", success {share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
            if first is None:
                first = cells
                tasks, trials = found.returns.shape
                typer.echo(
                    f"{tasks} held-out tasks, {trials} each, after {found.context_episodes} "
                    "episodes of own exploration"
                )
            else:
                apart = mean(cells - first)
                text += f"; {apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}] to the first"
            typer.echo(text)
