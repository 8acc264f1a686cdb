"""Every command on every page is one: program, options, choices, overrides, files. None is run.

Left out are values that a reader puts in (RUN, `...`), names and keys that a package of the
reader's own brings, and, under docs/results, settings: each page there says by which command its
version was measured. Settings of a file of the reader's own are held to one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from rich.text import Text

from benchmarks.__main__ import NAMES
from fieldtune import plugins
from fieldtune.errors import UserError
from fieldtune.robot.cli.app import app as robot
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.hardware.options import ZmqOptions
from fieldtune.robot.drivers.sim import SimOptions
from fieldtune.settings import check, load
from fieldtune.sim.registry import family as make_family
from fieldtune.train.algorithms.registry import GROUP
from fieldtune.train.cli.app import app as trainer
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.plan import chosen_methods
from fieldtune.train.study.presets import Preset
from fieldtune.train.study.presets import overrides as preset_overrides
from fieldtune.train.study.runners import RunnerName
from tests import declared_arguments
from tests.declared_arguments import Refused
from tests.page_lines import Line, is_placeholder, lines

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [page for folder in ("docs", "examples", "servers") for page in (ROOT / folder).rglob("*.md")]
)
PROGRAMS = {
    "fieldtune": typer.main.get_command(trainer),
    "fieldtune-robot": typer.main.get_command(robot),
}
MAKEFILES = (ROOT / "Makefile", ROOT / "train/new_package/templates/shared/Makefile.template")
CHOICES = {  # of options that are any text to the parser
    "preset": get_args(Preset),
    "runner": get_args(RunnerName),
    "method": plugins.names(GROUP),
    "format_": ("lerobot", "minari"),
}
DRIVERS: dict[str, Any] = {"sim": SimOptions, "zmq": ZmqOptions}
NEEDED = {ZmqOptions: {"address": "tcp://127.0.0.1:5790", "description": "arm.json"}}
STAND_IN = ROOT / "configs" / "reach.yaml"  # for a file of the reader's own
UsageError: Any = typer.BadParameter.__mro__[1]  # click's, which typer has inside


class Wrong(Exception):
    """What is amiss with a command, and the cure."""


def problem(line: Line) -> str | None:
    """What is wrong with a command; None for nothing."""
    program, *words = line.words
    try:
        missing_files(words)
        if program == "make":
            check_make(line.page, words)
        elif program in PROGRAMS:
            check_program(line, program, words)
        else:
            check_module(line, program, words)
    except (Wrong, Refused, UserError) as error:
        return str(error)
    return None


def missing_files(words: Sequence[str]) -> None:
    for word in words:
        named = re.fullmatch(r"(configs|servers|benchmarks|scripts)/[\w/-]+\.\w+", word)
        if named and not (ROOT / word).is_file():
            raise Wrong(f"there is no {word}")


def check_make(page: Path, words: Sequence[str]) -> None:
    files = [*MAKEFILES, page.parent / "Makefile"]
    words = list(words)
    if words[:1] == ["-C"]:
        files, words = [ROOT / words[1] / "Makefile"], words[2:]
        if not files[0].is_file():
            raise Wrong(f"there is no {files[0].relative_to(ROOT)}")
    text = "".join(file.read_text() for file in files if file.is_file())
    targets = re.findall(r"^([a-z]+):", text, re.M)
    for word in words:
        if word.startswith("ARGS="):
            check_names(declared_arguments.parse("benchmarks", word[5:].split()).names)
        elif word not in (*targets, ".venv/.installed"):
            raise Wrong(f"no target {word!r}: there are {', '.join(targets)}")


def check_program(line: Line, program: str, words: list[str]) -> None:
    """The way from a program to its command, whose own parser takes the words."""
    command, path = PROGRAMS[program], program
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            if unknown := set(words) - {*options(command), "--help"}:
                raise Wrong(f"{path} has no option {min(unknown)}")
            if words or not line.fenced:
                return
            raise Wrong(f"{path} wants a command: {', '.join(command.commands)}")
        name, *words = words
        if name not in command.commands:
            raise Wrong(f"{path} has no command {name!r}: {', '.join(command.commands)}")
        command, path = command.commands[name], f"{path} {name}"
    try:
        context = command.make_context(path, words)
    except typer.BadParameter as error:  # a value, or one that is missing; options are known
        if line.open or (type(error).__name__ == "MissingParameter" and not line.fenced):
            return
        raise Wrong(error.format_message()) from None
    except UsageError as error:
        if type(error).__name__ == "BadOptionUsage" and not line.fenced:
            return  # an option without its value
        raise Wrong(error.format_message()) from None
    if not line.page.is_relative_to(RESULTS):
        check_values(line.page, program, command.name, context.params)


def options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)


def check_values(page: Path, program: str, command: str, given: dict[str, Any]) -> None:
    """What a command would refuse once it runs: names that are texts to its parser, settings."""
    for name, known in CHOICES.items():
        if given.get(name) not in (None, *known) and not is_placeholder(given[name]):
            raise Wrong(
                f"--{name.strip('_')} is {given[name]!r}: expected one of {', '.join(known)}"
            )
    overrides = set_in(given.get("overrides"))
    if command == "study":
        check_study(given, overrides)
    elif program == "fieldtune-robot":
        if given.get("rewards") is not None:
            overrides.append(f"robot.rewards.source={given['rewards']}")
        check_robot(page, given.get("config"), overrides)
    elif given.get("config") is not None:
        check_run(page, given["config"], overrides)
    elif overrides:
        raise Wrong(f"{overrides[0]}: without --config, a run's own settings hold")


def set_in(overrides: Sequence[str] | None) -> list[str]:
    """The overrides but for placeholders."""
    return [one for one in overrides or () if not is_placeholder(one)]


def check_study(given: dict[str, Any], overrides: list[str]) -> None:
    """As `fieldtune.train.study.command.run_command_line` reads them."""
    family = STAND_IN.stem if is_placeholder(given["family"]) else given["family"]
    config = given["config"] or Path("configs") / f"{family}.yaml"
    if not (ROOT / config).is_file():
        raise Wrong(f"there is no {config}")
    of_robot = [one for one in overrides if one.startswith("robot.")]
    known = load(RobotConfig, ROOT / config, section="robot", overrides=of_robot).family_options
    loaded = load_config(
        ROOT / config, overrides=[*preset_overrides(given["preset"], family, known), *overrides]
    )
    if loaded.family != family:
        raise Wrong(f"{config} is of {loaded.family!r}")
    if known:
        make_family(family, **known)
    chosen_methods(given["methods"], loaded)


def check_run(page: Path, config: Path, overrides: list[str]) -> None:
    load_config(in_repository(page, config) or STAND_IN, overrides=overrides)


def check_robot(page: Path, config: Path | None, overrides: list[str]) -> None:
    file = in_repository(page, config) if config is not None else None
    found = load(RobotConfig, file or STAND_IN, section="robot", overrides=overrides)
    keys = found.driver.options
    if file is None:  # its driver is not known: one of ours has to know the key
        places = [one.partition("=")[0].split(".") for one in overrides]
        named = {place[2] for place in places if place[1] == "driver" and place[2:]} - {"name"}
        kinds = [kind for kind in DRIVERS.values() if named <= set(kind.model_fields)]
        if named and not kinds:
            raise Wrong(f"no driver of {', '.join(DRIVERS)} has all of {', '.join(sorted(named))}")
        keys = {key: value for key, value in keys.items() if key in named}
        keys = NEEDED.get(kinds[0], {}) | keys
    else:
        kinds = [DRIVERS[found.driver.name]] if found.driver.name in DRIVERS else []  # or its own
    for kind in kinds[:1]:
        check(kind, keys, source=str(config), key="robot.driver")


def in_repository(page: Path, config: Path) -> Path | None:
    """The file that a page of it names, from its root or from the page's folder."""
    return next((at / config for at in (ROOT, page.parent) if (at / config).is_file()), None)


def check_module(line: Line, module: str, words: list[str]) -> None:
    """A program of the checkout's, by the arguments that its source declares."""
    try:
        given = declared_arguments.parse(module, words)
    except Refused:
        if line.fenced and not line.open:
            raise
        known = declared_arguments.names(module)
        if unknown := {word for word in words if word.startswith("--")} - known:
            raise Wrong(f"{module} has no {min(unknown)}: {', '.join(sorted(known))}") from None
        return
    if module == "benchmarks":
        check_names(given.names)
    if overrides := set_in(getattr(given, "overrides", None)):
        check_run(line.page, Path(given.config), overrides)


def check_names(names: Sequence[str]) -> None:
    """Of `python -m benchmarks`, which calls other benchmarks by name."""
    if unknown := set(names) - set(NAMES):
        raise Wrong(f"no benchmark {min(unknown)!r}: there are {', '.join(NAMES)}")


@cache
def commands(page: Path) -> tuple[Line, ...]:
    return tuple(lines(page, page.read_text()))


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_command_of_the_page_is_one(page):
    wrong = [f"{line}\n    {said}" for line in commands(ROOT / page) if (said := problem(line))]
    assert not wrong, "\n".join(wrong)


def test_the_pages_commands_are_found():
    found = [line for page in PAGES for line in commands(page)]
    assert sum(line.fenced and not line.open for line in found) > 150
    assert len({line.page for line in found}) > 30


MISTAKES = {
    "fieldtune trian --config configs/reach.yaml": "no command 'trian'",
    "fieldtune train --config configs/reach.yaml": "Missing option '--run'",
    "fieldtune train --config configs/none.yaml --run a": "there is no configs/none.yaml",
    "fieldtune train --config configs/reach.yaml --run a --update 3": "No such option: --update",
    "fieldtune train --config configs/reach.yaml --run a --updates few": "a valid integer",
    "fieldtune train --config configs/reach.yaml --run a offline.update=3": "'offline.updates'?",
    "fieldtune train --config my.yaml --run a offline.updates=many": "expected",
    "fieldtune train --run a offline.updates=3": "without --config",
    "fieldtune bundle convert a --to fp15 --out b": "'fp15' is not one of",
    "fieldtune export --run a --out b --method focul": "--method is 'focul'",
    "fieldtune study raech": "there is no configs/raech.yaml",
    "fieldtune study reach --methods offline,focul": "--methods has 'focul'",
    "fieldtune study reach --preset leen": "--preset is 'leen'",
    "fieldtune study point-goal robot.family_options.reward=sparse": "reward",
    "fieldtune study reach --methods offline \\\n    data.pth=a  # over two lines": "'data.path'",
    "fieldtune-robot adapt --config robot.yaml --rewards kees": "robot.rewards.source",
    "fieldtune-robot run --config configs/reach.yaml driver.seed=1": "start with 'robot.'",
    "fieldtune-robot run --config configs/reach.yaml robot.driver.sed=1": "'robot.driver.seed'",
    "fieldtune-robot run --config robot.yaml robot.driver.sed=1": "has all of sed",
    "cd a && OMP_NUM_THREADS=1 python -m benchmarks.trail a b": "no program benchmarks.trail",
    "python -m benchmarks.trial configs/reach.yaml a data.pth=b": "'data.path'",
    "python -m benchmarks.trial configs/reach.yaml a --phase-2 tamed": "invalid choice: 'tamed'",
    "nice -n 10 .venv/bin/python -m benchmarks lien": "no benchmark 'lien'",
    "python servers/serve_jonts.py": "no program servers.serve_jonts",
    "sudo -u fieldtune /opt/bin/fieldtune-robot moniter": "no command 'moniter'",
    "fieldtune study FAMILY --methods offline,focul": "--methods has 'focul'",
    "python -m benchmarks.trial CONFIG FOLDER data.pth=a": "'data.path'",
    "make dmeo": "no target 'dmeo'",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_cure(command):
    (line,) = lines(ROOT / "docs" / "page.md", f"A page\n\n```bash\n{command}\n```\n")
    assert line.number == 4
    assert MISTAKES[command] in (problem(line) or "")


def test_between_backticks_options_are_known_but_may_be_missing():
    text = "With `fieldtune train --updates 3` or `fieldtune train --update 3`, and `make`."
    assert [problem(line) and line.words for line in lines(ROOT / "a.md", text)] == [
        None,
        ("fieldtune", "train", "--update", "3"),
        None,
    ]


def _with_their_helps(command: Any) -> Iterator[tuple[str, str]]:
    yield command.name, command.help or ""
    for option in command.params:
        yield f"{command.name} {option.name}", getattr(option, "help", None) or ""
    for inner in getattr(command, "commands", {}).values():
        yield from _with_their_helps(inner)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_help_loses_what_stands_in_brackets(program):
    """`[python, judge.py]` in a help is a mark to rich, and goes, unless its bracket is escaped."""
    for name, told in _with_their_helps(PROGRAMS[program]):
        shown = Text.from_markup(told, emoji=False).plain
        assert shown == re.sub(r"\[/?bold\]", "", told).replace("\\[", "["), name
