"""Errors that a person can act on, told by the workstation's commands in one message.

Imports what raises them when a command runs, so that `--help` is there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from robot.exit_status import INTERRUPTED, MISTAKE


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that a person can act on into one message and exit status 1."""
    from export.bundle import BundleError
    from export.file_errors import sentence
    from export.parity import ParityError
    from robot.drivers.driver import DriverFault
    from robot.keys import KeysError
    from robot.settings import ConfigError
    from robot.wire import WireError
    from sim.registry import UnknownFamily
    from train.alone import InUse
    from train.checkpoint import CheckpointError
    from train.datasets import DatasetError
    from train.evaluation import EvaluationError
    from train.hub import HubError
    from train.learner import TrainingDiverged
    from train.run import RunError
    from train.study.run import StudyError
    from train.study.runners import RunnerError

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
