"""Errors that a person can act on, told by the workstation's commands in one message.

Imports what raises them when a command runs, so that `--help` is there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fieldtune.exit_status import INTERRUPTED, MISTAKE


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that a person can act on into one message and exit status 1."""
    from fieldtune.export.bundle import BundleError
    from fieldtune.export.parity import ParityError
    from fieldtune.file_errors import sentence
    from fieldtune.robot.bridge.wire import WireError
    from fieldtune.robot.curve_keys import KeysError
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.settings import ConfigError
    from fieldtune.sim.registry import UnknownFamily
    from fieldtune.train.algorithms.optimisation import TrainingDiverged
    from fieldtune.train.alone import InUse
    from fieldtune.train.bridge.hub import HubError
    from fieldtune.train.data.dataset import DatasetError
    from fieldtune.train.evaluation.results import EvaluationError
    from fieldtune.train.runs.checkpoint import CheckpointError
    from fieldtune.train.runs.run import RunError
    from fieldtune.train.study.runners import RunnerError
    from fieldtune.train.study.scheduler import StudyError

    try:
        yield
    except (
        BundleError,
        CheckpointError,
        ConfigError,
        DatasetError,
        DriverFault,
        EvaluationError,
        HubError,
        InUse,
        KeysError,
        ParityError,
        RunError,
        RunnerError,
        StudyError,
        TrainingDiverged,
        UnknownFamily,
        WireError,
    ) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(MISTAKE) from None
    except BrokenPipeError:  # whoever read the output has enough
        raise
    except OSError as error:
        typer.secho(f"error: {sentence(error)}", fg="red", err=True)
        raise typer.Exit(MISTAKE) from None
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
