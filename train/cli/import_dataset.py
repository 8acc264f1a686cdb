"""`fieldtune import`: its options and examples; the work is train/importing/dataset.py's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldtune.errors import RESUMABLE, UserError, report_user_errors

if TYPE_CHECKING:
    from fieldtune.sim.family import TaskFamily
    from fieldtune.train.importing.source import NamedTasks, Source

Option = typer.Option


class OptionError(UserError):
    """Options that do not go together. The message names them and the cure."""


def import_(
    family: Annotated[str | None, Option(help="The task family that the data are of.")] = None,
    out: Annotated[Path | None, Option("--out", help="The dataset's folder, a new one.")] = None,
    config: Annotated[
        Path | None,
        Option(
            help="A run's file, in place of --family and --out: its family, robot and data.path."
        ),
    ] = None,
    mapping: Annotated[
        Path | None, Option(help="Which keys of the data are which fields: a YAML file.")
    ] = None,
    source: Annotated[
        str | None,
        Option(
            "--from",
            help="With --mapping: the data, a path or a pattern; {task} stands for a task's name.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        Option("--dry-run", help="Show what the data are, and whether they fit; write nothing."),
    ] = False,
    journal: Annotated[
        str | None,
        Option(help="A robot's journal, or a run that robots sent to: their rewarded episodes."),
    ] = None,
    held_out: Annotated[
        int | None,
        Option(min=1, help="--journal: of the tasks that bring parameters, how many are held out."),
    ] = None,
    hdf5: Annotated[
        str | None, Option(help="HDF5 files, one a task; {task} stands for its name.")
    ] = None,
    minari: Annotated[
        str | None, Option(help="Minari datasets, folders or ids; {task} stands for a task's name.")
    ] = None,
    task_attribute: Annotated[
        str | None,
        Option(help="One Minari dataset: the episodes' attribute that names their task."),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        Option(
            help="--task-attribute, --mapping, --journal: a task to leave out; may be repeated."
        ),
    ] = None,
    tasks: Annotated[
        Path | None,
        Option(help="The tasks' names, parameters and split.  \\[the family's own, by number]"),
    ] = None,
    stride: Annotated[
        int | None, Option(min=1, help="Keep every n-th transition.  [--hdf5: 7, --minari: 1]")
    ] = None,
    last: Annotated[
        int | None, Option(min=1, help="--hdf5: of each file, take only the last n rows.")
    ] = None,
    join: Annotated[
        Path | None,
        Option(help="A dataset whose tasks and episodes come first; it stays as it is."),
    ] = None,
    trust_units: Annotated[
        bool,
        Option("--trust-units", help="Take observations far from what the simulator shows."),
    ] = False,
) -> None:
    """Make a dataset of the field's own files (docs/datasets.md).

    [bold]Examples[/bold]

      fieldtune import --family reach --mapping mapping.yaml --from data/lerobot/reach --dry-run

      fieldtune import --family reach --mapping mapping.yaml --from data/lerobot/reach --out data/mine

      fieldtune import --family reach --journal runs/robot/journal.sqlite --held-out 2 --out data/real

      fieldtune import --family cheetah-vel --tasks tasks.json --out data/macaw --hdf5
      'macaw/buffers_cheetah_vel_train_{task}_sub_task_0.hdf5'

      fieldtune import --family cheetah-vel --out data/mine --minari 'datasets/cheetah-{task}'

      fieldtune import --family cheetah-vel --tasks new.json --join data/mine --out data/more
      --minari 'datasets/cheetah-{task}'
    """  # noqa: E501
    with report_user_errors(RESUMABLE):
        from functools import partial

        from fieldtune.train.alone import making
        from fieldtune.train.console import progress
        from fieldtune.train.importing.dataset import import_dataset, source_of
        from fieldtune.train.importing.joined import import_joined
        from fieldtune.train.importing.journal import read_journal
        from fieldtune.train.importing.mapped import read_mapped
        from fieldtune.train.importing.task_file import family_tasks, read_tasks

        of, folder = _chosen(family, config, out, dry_run)
        if join is not None and mapping is None and tasks is None and journal is None:
            raise OptionError("--join adds new tasks: name them with --tasks FILE")
        found: Source
        others: dict[str, object] = {"--hdf5": hdf5, "--minari": minari, "--last": last}
        others |= {"--task-attribute": task_attribute, "--stride": stride}
        if held_out is not None and journal is None:
            raise OptionError("--held-out is for --journal: in a mapping it is 'tasks.held_out'")
        if journal is not None:
            _refuse({"--mapping": mapping, "--from": source} | others, "--journal")
            recorded = read_journal(of, journal, tasks, held_out, leave_out or [])
            found, named = recorded, recorded.tasks
        elif mapping is None:
            if source is not None:
                raise OptionError("--from is for --mapping: name the file that says what is what")
            found = source_of(of, hdf5, minari, task_attribute, stride, last, leave_out or [])
            named = family_tasks(of) if tasks is None else read_tasks(tasks, of)
        else:
            _refuse(others, "--mapping")
            if source is None:
                raise OptionError("--mapping needs --from: where the data are")
            mapped = read_mapped(of, mapping, source, tasks, leave_out or [])
            found, named = mapped, mapped.tasks
        if dry_run:
            _show(of, named, found, trust_units, join)
            return
        assert folder is not None
        with making(folder), progress("importing", "tasks") as advance:
            write = import_dataset if join is None else partial(import_joined, join)
            result = write(folder, of, named, found, advance, trust_units=trust_units)
    typer.echo(f"{result.id}: {result.episodes} episodes, {result.transitions} transitions")
    for sentence in result.left_out:
        typer.echo(f"left out: {sentence}")
    if "rewards" in found.how():
        typer.echo(f"rewards: {found.how()['rewards']}")
    if result.reward_error is not None:
        typer.echo(
            f"rewards differ from the family's own by {result.reward_error:.3f} of their spread"
            + ("" if result.reward_error < 0.5 else ": are tasks, fields and units right?")
        )


def _refuse(given: Mapping[str, object], option: str) -> None:
    """Raises `OptionError` for the first of these that was given beside `option`."""
    wrong = next((name for name, value in given.items() if value is not None), None)
    if wrong is not None:
        raise OptionError(f"{wrong} is not for {option}: leave it out")


def _chosen(
    family: str | None, config: Path | None, out: Path | None, dry_run: bool
) -> tuple[TaskFamily, Path | None]:
    """The family, and the folder to be written; None in a dry run without one."""
    from fieldtune.sim.registry import family as make_family
    from fieldtune.train.runs.config_file import load_config

    if (family is None) == (config is None):
        given = "neither" if family is None else "both"
        raise OptionError(f"--family and --config: {given} given, expected one of them")
    if config is not None:
        settings = load_config(config)
        of = make_family(settings.family, **settings.family_options)
        return of, Path(settings.data.path) if out is None else out
    assert family is not None
    if out is None and not dry_run:
        raise OptionError("--out is missing: name the dataset's folder, a new one")
    return make_family(family), out


def _show(
    of: TaskFamily, named: NamedTasks, source: Source, trust_units: bool, join: Path | None
) -> None:
    """The dry run. Raises `UserError` where the data would be refused, after what it shows."""
    from dataclasses import replace

    from fieldtune.train.importing.dataset import gathered
    from fieldtune.train.importing.joined import require_joined
    from fieldtune.train.importing.mapped import MappedEpisodes
    from fieldtune.train.importing.survey import lines, survey

    shown = replace(source, refusing=False) if isinstance(source, MappedEpisodes) else source
    for line in lines(survey(of, named, shown.episodes)):
        typer.echo(line)
    if "rewards" in source.how():
        typer.echo(f"rewards: {source.how()['rewards']}")
    if isinstance(source, MappedEpisodes):
        for sentence in source.notes:
            typer.echo(f"left out: {sentence}")
    sound = gathered(of, named, source, trust_units=trust_units)
    if join is not None:
        require_joined(join, of, named, sound)
    if not isinstance(source, MappedEpisodes):
        for sentence in sound.left_out:
            typer.echo(f"left out: {sentence}")
    typer.echo("all of this can be imported; nothing was written (--dry-run)")
