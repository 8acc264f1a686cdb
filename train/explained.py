"""Errors that a person can act on, told by the workstation's commands in one message.

Imports what raises them when a command runs, so that `--help` is there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that a person can act on into one message and exit code 2."""
    from export.bundle import BundleError
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
        OSError,
        ParityError,
        RunError,
        RunnerError,
        StudyError,
        TrainingDiverged,
        UnknownFamily,
        WireError,
    ) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to go on", err=True)
        raise typer.Exit(130) from None
