"""`fieldtune-robot check --connect`: a driver tried out without a bundle, and what that showed.

Asks before anything moves, and prints. Imports what it needs when it runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fieldtune.errors import tell
from fieldtune.exit_status import FAULT, MISTAKE
from fieldtune.robot.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.driver_trial.trial import DriverTrial
    from fieldtune.robot.drivers.watched import WatchedDriver
    from fieldtune.robot.loop.episode_runner import EpisodeRunner
    from fieldtune.robot.safety.limits import Limits

LOOKS = 20
CYCLES = 100


def try_driver(
    settings: RobotConfig, config: Path, *, still: Sequence[str], yes: bool, as_json: bool
) -> None:
    """Look at the driver, home it and hold it still for 100 cycles, and print what that showed.

    Args:
        settings: the robot's.
        config: the file that they are from.
        still: `FIELD=VALUE`, the action that leaves the robot where it is.
        yes: whether to home without asking.
        as_json: whether to print JSON and no text.

    Raises:
        typer.Exit: something is wrong, and has been said; likewise whatever a robot's programs
            raise where they cannot begin.
    """
    from fieldtune.robot.driver_trial.report import report
    from fieldtune.robot.driver_trial.text import lines
    from fieldtune.robot.driver_trial.trial import DriverTrial
    from fieldtune.robot.drivers.lookup import create_driver
    from fieldtune.robot.drivers.watched import WatchedDriver
    from fieldtune.robot.journal.recorder import Recorder
    from fieldtune.robot.loop.episode_runner import EpisodeRunner
    from fieldtune.robot.safety.build import describe
    from fieldtune.robot.safety.latch import latched

    driver = WatchedDriver(create_driver(settings, config))
    given = _given(still, driver)
    limits = _limits(settings, driver, config)
    runner = EpisodeRunner(settings, driver, Recorder(settings.journal))
    trial = DriverTrial(driver, limits, runner.estop)
    stop_on_signals(trial.request_stop, runner.estop)
    if not as_json:
        for line in describe(limits, settings.limits.max_run_s):
            typer.echo(line)
    wrong: list[str] = []
    notes: list[str] = []
    try:
        runner.connect()
        with _told(wrong):
            trial.look(LOOKS)
        if not wrong:
            with _told(wrong):
                _move(trial, runner, config, given, yes, wrong, notes)
    finally:
        runner.hold_if_stopped()
        runner.close()
    fault = runner.states.fault_reason
    if fault and not any(fault in sentence for sentence in wrong):
        wrong.append(fault)
    found = report(trial, driver, wrong, notes)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1, allow_nan=False))
    else:
        for line in lines(found):
            typer.echo(line)
    for sentence in found.wrong:
        tell(sentence)
    if found.wrong:
        raise typer.Exit(FAULT if latched(settings.latch) else MISTAKE)


def _move(
    trial: DriverTrial,
    runner: EpisodeRunner,
    config: Path,
    given: Mapping[str, Sequence[float]],
    yes: bool,
    wrong: list[str],
    notes: list[str],
) -> None:
    from fieldtune.robot.drivers.lookup import is_simulated
    from fieldtune.robot.journal.file import explained, take_writer_lock
    from fieldtune.robot.policy.exploration import Draws

    settings = runner.config
    simulated = is_simulated(settings, config)
    runner.require_unlatched()
    if not (yes or simulated or _agreed(settings.name)):
        wrong.append(
            "it was looked at and no more, since homing moves the robot: say --yes when its way is "
            "clear and its own stop in your hand"
        )
        return
    with explained(settings.journal):  # so that `stop` finds this process, and no other begins
        settings.journal.parent.mkdir(parents=True, exist_ok=True)
        lock = take_writer_lock(settings.journal)
    try:
        with _told(wrong, "bringing the robot to its start: "):
            trial.home(Draws(settings.seed, 1).start_seed)
        if not wrong:
            with _told(wrong, "holding it still: "):
                _stay(trial, runner, given, simulated, notes)
    finally:
        trial.rest()
        runner.hold_if_stopped()
        lock.release()


def _stay(
    trial: DriverTrial,
    runner: EpisodeRunner,
    given: Mapping[str, Sequence[float]],
    simulated: bool,
    notes: list[str],
) -> None:
    from fieldtune.robot.driver_trial.still_action import StillActionUnknown, still_action

    fields, where = runner.driver.action_fields, trial.where()
    try:
        command = still_action(where, trial.limits, fields, given=given, simulated=simulated)
    except StillActionUnknown as error:
        command = None
        notes.append(f"apply was not tried: {error}")
    if trial.stay(CYCLES, command, may_move=simulated):
        notes.append(
            f"held still for {len(trial.stayed.values)} cycles alone: then the observation said "
            "that it is terminated"
        )


@contextmanager
def _told(wrong: list[str], doing: str = "") -> Iterator[None]:
    """Add what is raised inside to `wrong`: what was measured until then is worth showing."""
    from fieldtune.robot.driver_trial.places import Moved
    from fieldtune.robot.driver_trial.still_action import NotStill
    from fieldtune.robot.driver_trial.trial import Stopped
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.robot.journal.file import JournalError
    from fieldtune.robot.loop.connected_robot import Latched
    from fieldtune.robot.safety.estop import EmergencyStop
    from fieldtune.robot.safety.limits import LimitFault

    try:
        yield
    except (
        DriverFault,
        EmergencyStop,
        JournalError,
        Latched,
        LimitFault,
        Moved,
        NotStill,
        Stopped,
    ) as error:
        wrong.append(f"{doing}{error}")


def _agreed(name: str) -> bool:
    return sys.stdin.isatty() and typer.confirm(
        f"Homing moves robot {name!r}. Is its way clear, and its own stop in your hand?", err=True
    )


def _given(still: Sequence[str], driver: WatchedDriver) -> dict[str, list[float]]:
    from fieldtune.robot.driver_trial.still_action import NotStill, require_known
    from fieldtune.settings import ConfigError

    given: dict[str, list[float]] = {}
    for text in still:
        name, _, value = text.partition("=")
        try:
            numbers = json.loads(value)
            given[name] = [
                float(one) for one in (numbers if isinstance(numbers, list) else [numbers])
            ]
        except (TypeError, ValueError):
            raise ConfigError(
                f"--still is {text!r}: expected FIELD=NUMBER or FIELD=[NUMBER, ...]"
            ) from None
    try:
        require_known(driver.action_fields, given)
    except NotStill as error:
        raise ConfigError(str(error)) from None
    return given


def _limits(settings: RobotConfig, driver: WatchedDriver, config: Path) -> Limits:
    """From config and driver alone: the driver's own fields in the place of a policy's."""
    from fieldtune.robot.safety.build import build_limits
    from fieldtune.robot.safety.layout import LimitsError
    from fieldtune.settings import ConfigError

    try:
        return build_limits(
            settings.limits,
            observation_fields=driver.observation_fields,
            robot_action_fields=driver.action_fields,
            policy_action_fields=driver.action_fields,
            period_s=driver.period_s,
        )
    except LimitsError as error:
        raise ConfigError(f"{config}: {error}") from error
