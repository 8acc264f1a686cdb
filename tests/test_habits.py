"""What both programs do alike: versions, colours, and the one table of exit statuses."""

from __future__ import annotations

import os
import platform
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from fieldtune import exit_status

ROOT = Path(__file__).parents[1]
MODULES = {"fieldtune": "fieldtune.train.launch", "fieldtune-robot": "fieldtune.robot.launch"}
PROGRAMS = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "CLICOLOR_FORCE")
}


def in_terminal(*command: str, **environment: str) -> str:
    """What a terminal is sent by a command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=PLAIN | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    sent = b""
    try:
        while piece := os.read(ours, 65536):
            sent += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.wait()
    return sent.decode()


@PROGRAMS
def test_version_names_what_matters_and_imports_none_of_it(module):
    script = (
        f"import sys\nsys.argv = ['x', '--version']\nfrom {module} import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted({'torch', 'mujoco', 'onnxruntime', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=PLAIN | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]"
    libraries = {"numpy", "onnxruntime", "pyzmq"}
    libraries |= {"torch", "mujoco"} if "train" in module else {"msgspec"}
    assert {f"{name} {version(name)}" for name in libraries} <= set(lines)
    assert lines[0].startswith("fieldtune ")
    assert lines[1].startswith(f"Python {platform.python_version()} on ")


@pytest.mark.parametrize("program", MODULES)
def test_the_shell_completes_a_command_and_its_options(program):
    def completed(typed: str) -> list[str]:
        script = (
            f"import sys; sys.argv = [{program!r}]; from {MODULES[program]} import main; main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=PLAIN
            | {
                "PYTHONPATH": str(ROOT),
                f"_{program.upper().replace('-', '_')}_COMPLETE": "complete_bash",
                "COMP_WORDS": f"{program} {typed}",
                "COMP_CWORD": str(len(typed.split())),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert completed("doc") == ["doctor"]
    assert completed("doctor --co") == ["--config"]


@pytest.mark.parametrize(
    "command",
    [
        ["fieldtune.train.launch", "--help"],
        ["fieldtune.train.launch", "keys", "--nonsense"],
        ["fieldtune.robot.launch", "check", "--config", "/nonexistent/x"],
        ["fieldtune.robot.launch", "doctor"],
    ],
    ids=["help", "usage", "error", "findings"],
)
def test_a_terminal_gets_colours_unless_NO_COLOR_is_set(command):
    assert COLOUR.search(in_terminal(*command))
    assert not COLOUR.search(in_terminal(*command, NO_COLOR="1"))


def test_one_page_has_the_table_of_exit_statuses_and_it_has_these():
    known = {str(value) for name, value in vars(exit_status).items() if name.isupper()}
    tables = {
        page.name: set(re.findall(r"^\| (\d+) \|", text.split("## Exit statuses")[1], re.M))
        for page in (ROOT / "docs").rglob("*.md")
        if "## Exit statuses" in (text := page.read_text())
    }
    assert tables == {"safety.md": known}


def test_no_command_ends_with_a_number_of_its_own():
    literal = re.compile(r"(?:SystemExit|typer\.Exit|sys\.exit)\((?:[^()]* else )?\d+\)")
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for half in ("fieldtune", "robot", "train", "export", "sim")
        for path in sorted((ROOT / half).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if literal.search(line)
    ]
    assert not wrong, "\n".join(wrong)
