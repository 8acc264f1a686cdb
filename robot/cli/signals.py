"""What signals do to a process that drives a robot: it comes to rest first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from fieldtune.exit_status import FAULT, INTERRUPTED

if TYPE_CHECKING:
    from fieldtune.robot.episodes.episode import EndReason
    from fieldtune.robot.safety.estop import EStop


def stop_on_signals(request_stop: Callable[[str], None], estop: EStop) -> None:
    """Prepare this process to drive a robot.

    Every signal that would end or stop it ends the run safely instead, those of Ctrl-Z and Ctrl-\\
    too; one that is ignored stays so, as SIGHUP under nohup. Once the robot is released, a second
    SIGINT ends the process at once. SIGUSR1 is an emergency stop. Output waits for no reader.
    """
    from fieldtune.robot.outlet import never_wait_for_readers
    from fieldtune.robot.safety.rest import ENDING, signal_name

    asked = False

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal asked
        name = signal_name(number)
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


def end(reasons: Sequence[EndReason], asked: int | None, fault: str | None) -> None:
    """End by the exit status that says what came of the episodes that were asked for.

    Args:
        reasons: why each ended that ran.
        asked: how many should have; None where they go on until stopped.
        fault: why the robot is in fault, if it is.

    Raises:
        typer.Exit: the robot is in fault, or was stopped before all of them were done.
    """
    if fault:
        raise typer.Exit(FAULT)
    from fieldtune.robot.episodes.episode import EndReason

    done = sum(reason is not EndReason.STOPPED for reason in reasons)
    if asked is not None and done < asked:
        typer.echo(f"stopped: {done} of {asked} episodes are done", err=True)
        raise typer.Exit(INTERRUPTED)
