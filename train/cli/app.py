"""The workstation's command line: reads settings, shows progress, explains errors in one place.

Imports what a command needs when it runs, so that `--help` is there at once.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import RESUMABLE, report_user_errors
from fieldtune.train.cli.beliefs import beliefs
from fieldtune.train.cli.bundle import app as bundle_app
from fieldtune.train.cli.check_family import check_family
from fieldtune.train.cli.doctor import doctor
from fieldtune.train.cli.export_dataset import export_dataset
from fieldtune.train.cli.film import film
from fieldtune.train.cli.fleet import fleet
from fieldtune.train.cli.import_dataset import import_
from fieldtune.train.cli.keys import app as keys_app
from fieldtune.train.cli.new import new
from fieldtune.train.cli.options import Config, Folder, Overrides, say_device
from fieldtune.train.cli.plugins import plugins
from fieldtune.train.cli.study import study
from fieldtune.train.cli.train import train
from fieldtune.train.cli.view import view
from fieldtune.versions import add_version

if TYPE_CHECKING:
    from fieldtune.train.config import RunConfig

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Meta-train in simulation, then adapt on the robot from experience without rewards.

    [bold]Examples[/bold]

    The whole loop on a simulated arm, with a report at the end:

      fieldtune demo

    Step by step:

      fieldtune collect --config configs/reach.yaml

      fieldtune train --config configs/reach.yaml --run runs/reach

      fieldtune export --run runs/reach --out reach.bundle

      fieldtune finetune --run runs/reach     # and on the robot: fieldtune-robot run --config ...

      fieldtune evaluate --run runs/reach

    A command that takes --config has any key of the file set on its command line; one that takes
    --run alone has the run's own, in RUN/config.yaml:

      fieldtune train --config configs/reach.yaml --run runs/wide 'algorithm.networks.policy=[256, 256]'
    """,  # noqa: E501
)
add_version(app, ("torch", "mujoco", "robosuite", "numpy", "onnxruntime", "minari", "pyzmq"))
app.add_typer(bundle_app, name="bundle")
app.add_typer(keys_app, name="keys")


@app.command()
def collect(
    config: Config,
    overrides: Overrides = None,
    runner: Annotated[
        str, typer.Option(help="local: processes of this machine. ray: a Ray cluster.")
    ] = "local",
) -> None:
    """Make a family's labelled multi-task dataset (Minari, in `data.path`)."""
    with report_user_errors(RESUMABLE):
        from fieldtune.train.collecting.collect import collect as make
        from fieldtune.train.collecting.on_cluster import spread_by
        from fieldtune.train.console import progress

        settings = _load(config, overrides)
        with spread_by(runner, settings) as spread, progress("collecting", "episodes") as advance:
            result = make(settings, advance, spread)
    typer.echo(
        f"{result.id}: {result.episodes} episodes, {result.transitions} transitions, "
        f"mean return {result.mean_return:.2f}"
    )


app.command("import")(import_)
app.command("export-dataset")(export_dataset)


app.command()(train)


@app.command()
def export(
    run: Folder,
    out: Annotated[Path, typer.Option("--out", help="The bundle file to write.")],
    method: Annotated[
        str | None,
        typer.Option(help="Another algorithm that a study trained, e.g. focal.  \\[the run's own]"),
    ] = None,
) -> None:
    """Write the newest policy of a run as a bundle, checked against torch.

    [bold]Examples[/bold]

      fieldtune export --run runs/reach --out reach.bundle

      fieldtune export --run studies/point-goal/seed-0 --method focal --out focal.bundle
    """
    with report_user_errors(RESUMABLE):
        from fieldtune.file_errors import require_writable
        from fieldtune.train.runs.added_decoder import decoded
        from fieldtune.train.runs.bundles import Exporter
        from fieldtune.train.runs.capabilities import require_exportable
        from fieldtune.train.runs.methods import as_method
        from fieldtune.train.runs.opening import open_existing
        from fieldtune.train.runs.trained import newest

        require_writable(out)
        say_device()
        opened = open_existing(run)
        trained, phase, updates = newest(opened, method)
        opened = as_method(opened, method or opened.config.algorithm.name)
        require_exportable(opened, trained)
        exporter = Exporter(opened, decoded(opened, trained))
        typer.echo(
            "tracing the policy and holding it against torch: some seconds a graph", err=True
        )
        bundle = exporter.write(out, phase=phase, updates=updates)
    worst = max(parity.relative for parity in bundle.manifest.parity.values())
    typer.echo(f"{out}: {bundle.id}")
    typer.echo(f"largest relative difference from torch: {worst:.1e}")
    for component in exporter.almost_constant():
        typer.echo(f"almost constant in the data: {component}")


@app.command()
def finetune(
    run: Folder,
    address: Annotated[
        str | None, typer.Option(help="Where robots connect; the config's robot.bridge if absent.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="Folder of `fieldtune keys`; required off this machine."),
    ] = None,
    updates: Annotated[
        int | None,
        typer.Option(min=1, help="Go on to this many; exploration steps grow in proportion."),
    ] = None,
) -> None:
    """Phase 2: label and learn from robots' reward-free episodes while they keep running."""
    with report_user_errors(RESUMABLE):
        from fieldtune.train.alone import training
        from fieldtune.train.bridge.emergency_stop import stop_robots_on_signal
        from fieldtune.train.bridge.fleet import telling
        from fieldtune.train.bridge.hub import Hub
        from fieldtune.train.bridge.keys import open_keys
        from fieldtune.train.console import progress
        from fieldtune.train.phases.finetune import Finetune, FinetuneProgress
        from fieldtune.train.runs.opening import open_existing
        from fieldtune.train.runs.run import RunError

        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("fieldtune.train").setLevel(logging.INFO)
        opened = open_existing(run)
        where = address or opened.config.robot.bridge
        if where is None:
            raise RunError("robot.bridge is not set: give --address tcp://127.0.0.1:PORT")
        if keys is None and opened.config.robot.keys.trainer is not None:
            raise RunError("robot.keys.trainer is set: give --keys FOLDER, the one with that key")
        if updates is not None:
            from fieldtune.train.runs.longer import longer_phase_2

            opened = longer_phase_2(opened, updates)
        total = opened.config.self_supervised.updates
        hub = Hub(where, opened.folder / "inbox", open_keys(keys) if keys is not None else None)
        stop_robots_on_signal(opened.folder, lambda: hub.request_stop(emergency=True))
        with (
            training(opened.finetune_checkpoint),
            hub,
            telling(opened.folder, hub),
            progress("finetuning", "updates") as bar,
        ):

            def show(now: FinetuneProgress) -> None:
                bar(
                    now.updates,
                    total,
                    f"{now.robots} robots, {now.steps} steps, {now.bundles} bundles"
                    + (f", {now.quarantined} quarantined" if now.quarantined else ""),
                )

            Finetune(opened, hub).work(show)
    typer.echo(f"checkpoint: {opened.finetune_checkpoint}")


@app.command("clear-stop")
def clear_stop(run: Folder) -> None:
    """Take back an emergency stop (SIGUSR1) that a trainer has kept, for the next one to start.

    Robots stay in fault until each is re-armed by a person who has looked at it.
    """
    from fieldtune.train.bridge.emergency_stop import clear

    with report_user_errors(RESUMABLE):
        typer.echo("cleared: start the trainer anew" if clear(run) else "no emergency stop is on")


app.command()(fleet)


@app.command()
def oracle(run: Folder) -> None:
    """Phase 2 with true rewards, in this process: what self-supervision is measured against."""
    with report_user_errors(RESUMABLE):
        from fieldtune.train.console import progress
        from fieldtune.train.phases.in_simulation import train_in_process
        from fieldtune.train.runs.opening import open_existing

        say_device()
        opened = open_existing(run)
        total = opened.config.self_supervised.updates
        with progress("oracle", "updates") as advance:
            train_in_process(
                opened,
                opened.oracle_checkpoint,
                true_rewards=True,
                on_update=lambda n: advance(n, total),
            )


@app.command()
def evaluate(run: Folder) -> None:
    """Measure every phase that was trained on the held-out tasks; write the report.

    Of a family without a simulator, on the held-out tasks' recorded episodes (docs/families.md).
    """
    with report_user_errors(RESUMABLE):
        from fieldtune.sim.label_only import LabelOnlyFamily
        from fieldtune.train.cli.evaluate_logs import evaluate_on_logs
        from fieldtune.train.console import print_returns, progress
        from fieldtune.train.evaluation.measure import evaluate_run
        from fieldtune.train.reports.report import require_report_writable, write_report
        from fieldtune.train.runs.opening import open_existing

        say_device()
        opened = open_existing(run)
        if isinstance(opened.family, LabelOnlyFamily):
            report = evaluate_on_logs(opened)
        else:
            require_report_writable(opened.folder)
            with progress("evaluating", "phases") as advance:
                evaluation = evaluate_run(opened, advance)
            print_returns(evaluation.returns, evaluation.success)  # there, if the disk fills now
            report = write_report(opened, evaluation)
    typer.echo(f"report: {report}")


app.command()(beliefs)
app.command()(film)
app.command()(view)
app.command()(study)
app.command()(plugins)
app.command("check-family")(check_family)
app.command()(doctor)
app.command()(new)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(min=0)] = 0,
    folder: Annotated[Path, typer.Option("--out", help="Everything is written there.")] = Path(
        "demo"
    ),
    config: Config = Path("configs/reach.yaml"),
    overrides: Overrides = None,
) -> None:
    """The whole loop on a simulated arm: data, training, robot, finetuning, report."""
    with report_user_errors(RESUMABLE):
        from fieldtune.train.cli.demo import run_demo
        from fieldtune.train.console import print_returns

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # the robot is ended first
        say_device()
        evaluation = run_demo(config, folder, seed, overrides or [])
        print_returns(evaluation.returns, evaluation.success)
    typer.echo(f"report: {folder / 'report.html'}")
    typer.echo(f"metrics: {folder / 'metrics.json'}")


def _load(config: Path, overrides: list[str] | None) -> RunConfig:
    from fieldtune.train.runs.config_file import load_config

    return load_config(config, overrides=overrides or [])
