"""`fieldtune-robot journal`: look into a journal, check it, and take episodes out of it.

Safe while a daemon records: all but `offer` only read. Imports what a command needs when it runs.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import report_user_errors
from fieldtune.exit_status import MISTAKE
from fieldtune.file_errors import sentence
from fieldtune.robot.cli.journal_text import facts, print_summary, print_table, started
from fieldtune.robot.cli.options import driver_of, episode_range
from fieldtune.str_enum import StrEnum

if TYPE_CHECKING:
    from fieldtune.robot.config import RobotConfig
    from fieldtune.robot.drivers.driver import Driver
    from fieldtune.robot.journal.journal import Journal

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""The robot's journal: what it did, step by step. Safe while the robot runs.

    [bold]Examples[/bold]

      fieldtune-robot journal list --config configs/reach.yaml

      fieldtune-robot journal show 12 --journal runs/robot-reach/journal.sqlite

      fieldtune-robot journal export --config configs/reach.yaml --episodes 3-7 --out trial.mcap
    """,
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A run's YAML file: the journal of that robot.")
]
JournalFile = Annotated[Path | None, typer.Option("--journal", help="A journal's own file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the config's."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


class Clock(StrEnum):
    """`fieldtune.robot.mcap.export.TimeBase`, and what to take where nobody says."""

    AUTO = "auto"
    WALL = "wall"
    ROBOT = "robot"
    TRAINER = "trainer"


@app.command("list")
def list_episodes(
    overrides: Overrides = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: Json = False,
) -> None:
    """Every episode, newest last."""
    with _reporting():
        with _open(_place(config, overrides, journal)) as opened:
            entries = opened.entries()
        if as_json:
            typer.echo(json.dumps([facts(entry) for entry in entries], indent=1))
            return
        print_table(
            ("episode", "started", "mode", "steps", "ended", "bundle", "upload"),
            [
                (
                    str(entry.number),
                    started(entry),
                    str(entry.header.mode),
                    str(entry.steps),
                    str(entry.footer.end_reason) if entry.footer else "",
                    entry.header.bundle_id[:12],
                    str(entry.state),
                )
                for entry in entries
            ],
        )


@app.command()
def show(
    number: Annotated[int, typer.Argument(min=1, help="The episode's number.")],
    overrides: Overrides = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    as_json: Json = False,
) -> None:
    """One episode: how it began and ended, and what its steps come to."""
    with _reporting():
        from fieldtune.robot.journal.file import JournalError
        from fieldtune.robot.journal.summary import summarise

        with _open(_place(config, overrides, journal)) as opened, opened.snapshot():
            entries = opened.entries()
            entry = next((entry for entry in entries if entry.number == number), None)
            if entry is None:
                held = f"{entries[0].number} to {entries[-1].number}" if entries else "none"
                raise JournalError(
                    f"{opened.path}: no episode {number}, it has {held}; episodes that the trainer "
                    "has are deleted when robot.journal_quota_mb is reached"
                )
            summary = summarise(opened.steps(number))
            rewards = opened.rewards(number)
        told = facts(entry) | {
            "rewarded_steps": len(rewards),
            "return": sum(rewards.values()) if rewards else None,
        }
        if as_json:
            typer.echo(json.dumps(told | {"summary": asdict(summary)}, indent=1))
            return
        for name, value in told.items():
            typer.echo(f"{name:<22} {'' if value is None else value}")
        print_summary(summary)


@app.command()
def verify(
    overrides: Overrides = None, config: ConfigFile = None, journal: JournalFile = None
) -> None:
    """Check the file and every episode in it; exit status 1 when something is wrong."""
    with _reporting():
        from fieldtune.robot.journal.check import find_problems

        with _open(_place(config, overrides, journal)) as opened:
            problems = find_problems(opened)
            count = 0 if problems else len(opened.entries())
        for problem in problems:
            print(f"problem: {problem}", file=sys.stderr)
        if problems:
            raise typer.Exit(MISTAKE)
        typer.echo(f"{opened.path}: {count} episodes, all sound")


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="The MCAP file to write.")],
    overrides: Overrides = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    episodes: Annotated[
        str | None, typer.Option(help="A-B, or one number; all where not given.")
    ] = None,
    bundles: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folders with bundles, for fields' names; `bundles` and `tasks` beside it."
        ),
    ] = None,
    clock: Annotated[
        Clock, typer.Option(help="The times' clock; auto is wall where it was noted, else robot.")
    ] = Clock.AUTO,
) -> None:
    """Write episodes to an MCAP file, for Foxglove and Rerun."""
    with _reporting():
        from fieldtune.file_errors import require_writable
        from fieldtune.robot.bundles.store import kept_beside
        from fieldtune.robot.mcap.export import TimeBase, export_mcap
        from fieldtune.robot.mcap.field_names import bundle_names

        require_writable(out)
        place = _place(config, overrides, journal)
        first, last = episode_range(episodes)
        folders = bundles or kept_beside(place.journal)
        with _open(place) as opened:
            exported = export_mcap(
                opened,
                out,
                bundle_names(folders, place.driver),
                first=first,
                last=last,
                clock=None if clock is Clock.AUTO else TimeBase(clock),
            )
        count = len(exported.episodes)
        typer.echo(f"{out}: {count} episodes, times on the {exported.clock} clock")
        for reason in exported.left_out:
            print(f"left out: {reason}", file=sys.stderr)
        if exported.damaged:
            raise typer.Exit(MISTAKE)


@app.command()
def offer(
    overrides: Overrides = None,
    config: ConfigFile = None,
    journal: JournalFile = None,
    episodes: Annotated[
        str | None,
        typer.Option(
            help="A-B, or one number, also what the trainer has; all that it refused if not given."
        ),
    ] = None,
) -> None:
    """Offer episodes again that the trainer refused, once the reason is seen to, or has lost.

    What it refused it remembers in its run's `inbox/refused/ROBOT/`: delete the files there first.
    Of those that are named with --episodes it takes what it does not have: offering more is safe.
    """
    with _reporting():
        from fieldtune.robot.journal.file import explained
        from fieldtune.robot.journal.journal import Journal

        place = _place(config, overrides, journal)
        first, last = episode_range(episodes)
        with explained(place.journal), Journal.attach(place.journal) as opened:
            numbers = opened.offer_again(first, last, acknowledged=episodes is not None)
        none = "none that the trainer refused" + (" or has" if episodes is not None else "")
        told = ", ".join(map(str, numbers)) or none
        typer.echo(f"{place.journal}: to be offered again: {told}")


@dataclass(frozen=True)
class _Place:
    """Where the journal is, and the config that said so."""

    journal: Path
    config: Path | None = None
    settings: RobotConfig | None = None

    def driver(self) -> Driver | None:
        """For its fields; None where no config names it, or it cannot be made here."""
        return driver_of(self.settings, self.config)


def _place(config: Path | None, overrides: list[str] | None, journal: Path | None) -> _Place:
    if (config is None) == (journal is None):
        raise typer.BadParameter("give one of --config and --journal: which robot's journal?")
    if journal is not None:
        if overrides:
            raise typer.BadParameter(f"{overrides[0]!r} is a setting, and needs --config")
        return _Place(journal)
    from fieldtune.robot.config import RobotConfig
    from fieldtune.settings import load

    assert config is not None
    settings = load(RobotConfig, config, section="robot", overrides=overrides or [])
    return _Place(settings.journal, config, settings)


def _open(place: _Place) -> Journal:
    from fieldtune.robot.journal.journal import Journal

    return Journal.read(place.journal)


@contextmanager
def _reporting() -> Iterator[None]:
    """`report_user_errors`, with a cure for what SQLite and the file system say."""
    from fieldtune.robot.journal.file import JournalError

    with report_user_errors():
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal cannot be read: {error}: `fieldtune-robot journal verify` says more"
            ) from error
        except BrokenPipeError:  # whoever read the output has enough
            raise
        except OSError as error:
            raise JournalError(
                f"{sentence(error)}: choose another --out, or check the disk"
            ) from error
