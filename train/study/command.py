"""`fieldtune study`: settings in, jobs run, page out; what a person sees meanwhile."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fieldtune.robot.config import RobotConfig
from fieldtune.settings import ConfigError, load
from fieldtune.train.charts import number, percent
from fieldtune.train.console import Advance, progress
from fieldtune.train.device_trial import Trial, tried
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.page import require_page_writable, write_page
from fieldtune.train.study.plan import Job, Study, chosen_methods
from fieldtune.train.study.presets import Preset
from fieldtune.train.study.presets import overrides as preset_overrides
from fieldtune.train.study.ray_runner import ray_runner
from fieldtune.train.study.results import require_sound_results
from fieldtune.train.study.runners import Runner, RunnerName, local_runner
from fieldtune.train.study.scheduler import OnLook, open_study, run_study
from fieldtune.train.study.summary import Row
from fieldtune.train.study.tables import closed, named


def run_command_line(
    family: str,
    overrides: Sequence[str],
    *,
    seeds: int,
    preset: str,
    folder: Path,
    config: Path,
    runner_name: str,
    slots: int | None,
    together: int = 1,
    methods: str | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
) -> None:
    """Run or resume the study in `folder` and print its table.

    Args:
        family: the task family, which the file must be of.
        overrides: `a.b=value`, which replace the preset's and the file's settings.
        seeds: how many, from 0 on.
        preset: a name of `fieldtune.train.study.presets`.
        folder: of the study; the data lie in it too.
        config: the family's YAML file.
        runner_name: `local` or `ray`.
        slots: processes at once; None: as `local_runner` says, on Ray as many as there is room for.
        together: seeds that may share a process.
        methods: names separated by commas; None: all.
        cpus: cores a process, on Ray; None: its threads.
        gpus: GPUs a process, on Ray, from 0 to 1; None: as the key `device` says.

    Raises:
        ConfigError: an option or the file is wrong; nothing was begun.
        ClusterError: Ray cannot run the jobs as asked; none was begun.
        DeviceError: a GPU of this machine was asked for by name and cannot be had.
        StudyError: the folder holds another study, or runs elsewhere already, or a job failed.
    """
    _known("--preset", preset, get_args(Preset))
    _known("--runner", runner_name, get_args(RunnerName))
    if runner_name != "ray" and (cpus is not None or gpus is not None):
        option = "--gpus-per-job" if cpus is None else "--cpus-per-job"
        raise ConfigError(f"{option} is Ray's to heed: add --runner ray, or leave it out")
    place = f"data.path={json.dumps(str(folder / 'data'))}"
    of_robot = [one for one in overrides if one.startswith("robot.")]
    options = load(RobotConfig, config, section="robot", overrides=of_robot).family_options
    asked = [place, *preset_overrides(preset, family, options), *overrides]  # type: ignore[arg-type]
    loaded = load_config(config, overrides=asked)
    if loaded.family != family:
        raise ConfigError(f"{config}: family is {loaded.family!r}, the study is of {family!r}")
    study = Study(config=loaded, seeds=seeds)
    chosen = chosen_methods(methods, loaded)
    found = tried(loaded.device) if runner_name == "local" else Trial(works=False)
    require_page_writable(folder)
    open_study(folder, study)
    require_sound_results(folder, study)
    runner: Runner
    if runner_name == "ray":
        runner = ray_runner(folder, loaded.device, slots, together, cpus, gpus)
        Console().print(str(runner), highlight=False)
    else:
        if found.said:
            Console().print(found.said, highlight=False, markup=False)
        runner = local_runner(slots, together, seeds=seeds, methods=len(chosen), on_gpu=found.works)
    try:
        with _watching() as look:
            run_study(folder, seeds, runner, look, chosen)
    finally:
        runner.close()
    said = ["fieldtune", "study", family, "--preset", preset, "--seeds", str(seeds)]
    said += [*([] if methods is None else ["--methods", methods]), *overrides]
    _print(write_page(folder, study, shlex.join(said)))
    Console().print(f"page: {folder / 'README.md'}", highlight=False)


def _known(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} is {value!r}: expected one of {', '.join(allowed)}")


def _print(table: Sequence[Row]) -> None:
    sparse = any(row.successes is not None for row in table)
    columns = ["held-out tasks", "inference", "return", "interval", "gap closed"]
    shown = Table(*columns, *(["success"] if sparse else []))
    for row in table:
        column = str(row.quoted)
        found = row.returns[column]
        shown.add_row(
            named(row.method, lean=False),
            row.inference,
            number(found.value),
            f"{number(found.low)} to {number(found.high)}",
            "" if row.gap is None else closed(row.gap),
            *([] if row.successes is None else [percent(row.successes[column].value)]),
        )
    Console().print(shown)


@contextmanager
def _watching() -> Iterator[OnLook]:
    """A bar for the jobs and one for each that runs; a line now and then without a terminal."""
    console = Console()
    if not console.is_terminal:
        with progress("study", "jobs") as advance:
            yield _lines(advance)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as bars:
        whole = bars.add_task("study, jobs", total=1)
        shown: dict[Job, TaskID] = {}

        def look(everything: list[Job], running: list[Job]) -> None:
            done = sum(job.done for job in everything)
            bars.update(whole, completed=done, total=len(everything))
            for job in [job for job in shown if job not in running]:
                bars.remove_task(shown.pop(job))
            for job in running:
                if job not in shown:
                    shown[job] = bars.add_task(job.title, total=1)
                reached, total = _reached(job)
                bars.update(shown[job], completed=reached, total=total)

        yield look


def _lines(advance: Advance) -> OnLook:
    """Progress for a log: the jobs done, and how far each of those running has come."""

    def look(everything: list[Job], running: list[Job]) -> None:
        notes = (f"{job.title} {100 * _share(job):.0f} %" for job in running)
        advance(sum(job.done for job in everything), len(everything), "; ".join(notes))

    return look


def _share(job: Job) -> float:
    done, total = _reached(job)
    return done / total


def _reached(job: Job) -> tuple[int, int]:
    """What a job says of itself; nothing yet where it has only begun."""
    try:
        done, total = job.progress.read_text().split()
        return int(done), max(int(total), 1)
    except (OSError, ValueError):
        return 0, 1
