"""`bundle`: look into a bundle, verify it, time it, compare it; of both programs.

Prints; what is found out stands in robot/bundles/. Imports what a command needs when it runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.exit_status import MISTAKE
from fieldtune.robot.cli.options import Config, Overrides
from fieldtune.str_enum import StrEnum

File = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle file.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


class Provider(StrEnum):
    """What ONNX Runtime computes on."""

    CPU = "cpu"
    CUDA = "cuda"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Bundles: what one is for, whether it is sound, how fast it runs, what changed.

    [bold]Examples[/bold]

      fieldtune-robot bundle inspect reach.bundle

      fieldtune-robot bundle verify reach.bundle

      fieldtune-robot bundle bench reach.bundle

      fieldtune-robot bundle diff old.bundle new.bundle
    """,
)


@app.command()
def inspect(bundle: File, as_json: Json = False) -> None:
    """What it is for, its fields with units and bounds, where it is from, and its sizes."""
    with report_user_errors():
        from fieldtune.export.bundle import read_bundle
        from fieldtune.robot.bundles.facts import facts, lines

        found = read_bundle(bundle)
        if as_json:
            typer.echo(json.dumps(facts(found), indent=1, allow_nan=False))
            return
        for left, right in lines(found):
            typer.echo(f"{left:<18} {right}")


@app.command()
def verify(bundle: File, as_json: Json = False) -> None:
    """Make every check that a robot makes, its trial included; say each by name.

    The exit status is not 0 where one fails.
    """
    with report_user_errors():
        from fieldtune.robot.bundles.checks import check_bundle

        found = []
        for check in check_bundle(bundle):
            found.append(check)
            if not as_json:
                typer.echo(f"{'ok' if check.ok else 'failed':<7} {check.name}")
                if not check.ok:
                    typer.echo(f"        {check.wrong}")
        if as_json:
            typer.echo(json.dumps([asdict(one) | {"ok": one.ok} for one in found], indent=1))
    if not found[-1].ok:
        raise typer.Exit(MISTAKE)


@app.command()
def bench(
    bundle: File,
    calls: Annotated[int, typer.Option(min=100, help="Of each, timed.")] = 5000,
    provider: Annotated[
        Provider, typer.Option(help="What computes; it must be installed.")
    ] = Provider.CPU,
    as_json: Json = False,
) -> None:
    """Time an action, a decoded reward and a step of the posterior, one at a time."""
    with report_user_errors():
        from fieldtune.export.bundle import read_bundle
        from fieldtune.robot.bundles.pace import bench as timed
        from fieldtune.robot.cli.journal_text import print_table

        found = read_bundle(bundle)
        result = timed(found, calls, (provider.value,))
        if as_json:
            typer.echo(json.dumps(asdict(result), indent=1))
            return
        typer.echo(
            f"batch 1, provider {result.provider}, {result.threads} thread; microseconds of "
            f"{calls} calls each"
        )
        print_table(
            ("", "p50", "p99", "p99.9"),
            [
                (one.what, *(f"{value:.1f}" for value in (one.p50_us, one.p99_us, one.p999_us)))
                for one in result.paces
            ],
        )


@app.command()
def diff(before: File, after: File, as_json: Json = False) -> None:
    """What changed between two: fields, weights, provenance, and actions on the same samples."""
    with report_user_errors():
        from fieldtune.export.bundle import read_bundle
        from fieldtune.robot.bundles.changes import compare

        found = compare(read_bundle(before), read_bundle(after))
        if as_json:
            typer.echo(json.dumps(asdict(found), indent=1, allow_nan=False))
            return
        for change in found.changes:
            typer.echo(f"{change.what}: {change.before} -> {change.after}")
        if not found.changes:
            typer.echo("the same bundle")
        if found.actions is None:
            typer.echo("actions: not to be compared, fields or z differ")
            return
        for one in found.actions:
            if one.mean is None or one.largest is None:
                typer.echo(f"mean action {one.field}: no number on one side, see `bundle verify`")
                continue
            typer.echo(
                f"mean action {one.field}: {100 * one.mean:.3g} % of its range apart in the mean, "
                f"{100 * one.largest:.3g} % at most, over {found.samples}"
            )


@app.command()
def limits(
    bundle: File,
    config: Config,
    out: Annotated[Path, typer.Option(help="Where the limits go, as JSON.")],
    overrides: Overrides = None,
) -> None:
    """Write the robot's limits for a loop in C++ (servers/cpp), as the daemon would make them.

    The bundle's fields are taken for the robot's own, so the bounds in the manifest are its limits.
    """
    with report_user_errors():
        from fieldtune.errors import UserError
        from fieldtune.export.bundle import read_bundle
        from fieldtune.file_errors import require_other
        from fieldtune.files import write_atomically
        from fieldtune.robot.cli.options import load_settings
        from fieldtune.robot.safety.build import build_limits, describe
        from fieldtune.robot.safety.layout import LimitsError
        from fieldtune.robot.safety.written import written

        require_other(out, bundle, config)
        known = read_bundle(bundle).manifest
        settings = load_settings(config, overrides)
        try:
            found = build_limits(
                settings.limits,
                observation_fields=known.observation_fields,
                robot_action_fields=known.action_fields,
                policy_action_fields=known.action_fields,
                period_s=known.period_s,
                observation_seen=known.observation_seen,
            )
            text = written(found, known.period_s)
        except LimitsError as error:
            raise UserError(str(error)) from error
        write_atomically(out, text.encode())
        for line in describe(found, settings.limits.max_run_s):
            typer.echo(line)
        typer.echo(f"{out}: for servers/cpp, at a period of {known.period_s:g} s")
