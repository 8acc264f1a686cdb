"""What the robot's commands share: options, settings, signals, and errors explained at the edge.

Holds no command. Imports what is needed when it is.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldtune.exit_status import FAULT, MISTAKE

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.safety.estop import EStop

Config = Annotated[
    Path, typer.Option("--config", help="A run's YAML file; its `robot:` section is read.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
]
Bundle = Annotated[
    Path | None, typer.Option("--bundle", help="Start with this bundle, not the newest one here.")
]
Output = Annotated[
    Path | None, typer.Option("--summary", help="Write what came of it there, as one JSON line.")
]


def load_settings(path: Path, overrides: list[str] | None) -> RobotConfig:
    """The robot's settings, with its log on.

    Raises `fieldtune.settings.ConfigError`.
    """
    from fieldtune.robot.config import RobotConfig
    from fieldtune.settings import load

    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("fieldtune.robot").setLevel(logging.INFO)
    return load(RobotConfig, path, section="robot", overrides=overrides or [])


def load_to_drive(path: Path, overrides: list[str] | None, summary: Path | None) -> RobotConfig:
    """The same for a command that is going to drive the robot, and say so in `summary`.

    Raises `fieldtune.settings.ConfigError`, and `fieldtune.open_files.TooFewFiles` or `OSError` for
    what would only be missed when the robot has moved.
    """
    from fieldtune.file_errors import require_writable
    from fieldtune.open_files import require_open_files

    settings = load_settings(path, overrides)
    require_open_files()
    if summary is not None:
        require_writable(summary)
    return settings


def stop_on_signals(request_stop: Callable[[str], None], estop: EStop) -> None:
    """Prepare this process to drive a robot.

    Every signal that would end or stop it ends the run safely instead, those of Ctrl-Z and Ctrl-\\
    too; one that is ignored stays so, as SIGHUP under nohup. Once the robot is released, a second
    SIGINT ends the process at once. SIGUSR1 is an emergency stop. Output waits for no reader.
    """
    from fieldtune.robot.outlet import never_wait_for_readers
    from fieldtune.robot.safety.rest import ENDING

    asked = False

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal asked
        name = signal.Signals(number).name
        if asked and number == signal.SIGINT and not estop.watching:
            raise KeyboardInterrupt
        asked = True
        request_stop(name)
        estop.leave(name)

    for number in ENDING:
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
    for number in (signal.SIGTTIN, signal.SIGTTOU):  # a terminal must not stop who is behind
        signal.signal(number, signal.SIG_IGN)
    estop.listen_to_signal()
    never_wait_for_readers()


def write_line(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as one JSON line. Raises `OSError` with the path."""
    from fieldtune.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content) + "\n").encode())


@contextmanager
def explained() -> Iterator[None]:
    """Turn every error that has a cure into its message and exit status 1; 3 for a robot that is in
    fault already, so that a supervisor does not try again."""
    from fieldtune.export.bundle import BundleError
    from fieldtune.file_errors import sentence
    from fieldtune.open_files import TooFewFiles
    from fieldtune.robot.bridge.wire import WireError
    from fieldtune.robot.curve_keys import KeysError
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.robot.journal.file import JournalError
    from fieldtune.robot.loop.episode_runner import BundleRefused, Latched
    from fieldtune.robot.policy.bundle_trial import TrialStopped
    from fieldtune.robot.policy.bundle_trust import BundleRecordError
    from fieldtune.robot.policy.saved_tasks import TaskError
    from fieldtune.robot.rewards.streams import NoRewards
    from fieldtune.robot.safety.limits import LimitFault
    from fieldtune.settings import ConfigError

    known = (
        BundleError,
        BundleRecordError,
        BundleRefused,
        ConfigError,
        DriverFault,
        JournalError,
        KeysError,
        Latched,
        LimitFault,
        NoRewards,
        TaskError,
        TooFewFiles,
        TrialStopped,
        WireError,
    )
    try:
        yield
    except known as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(FAULT if isinstance(error, Latched) else MISTAKE) from None
    except BrokenPipeError:  # whoever read the output has enough
        raise
    except OSError as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        raise typer.Exit(MISTAKE) from None
