"""Who may know whom (DESIGN.md): every import statement of the project is held against it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARROWS = {
    "sim": {"sim"},
    "export": {"export"},
    "robot": {"robot", "export"},
    "train": {"train", "robot", "export", "sim"},
}
SIM_DRIVER = "robot/drivers/sim.py"
MCAP_EXPORT = (
    "robot/mcap/export.py"  # an extra of its own: says what to install where it is missing
)
WORKSTATION_EXPORT = {"export/writer.py", "export/parity.py"}
LEARNING = {"torch", "onnx", "onnxscript", "safetensors", "tensorboard"}
SIMULATION = {"mujoco", "robosuite", "gymnasium", "numba"}
NAMES = {"PyYAML": "yaml", "pyzmq": "zmq"}


@dataclass(frozen=True)
class Import:
    """One imported top-level package; `lazy` when inside a function, `typing` when never run."""

    path: str
    line: int
    package: str
    lazy: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.package}"


def walk(node: ast.AST, lazy: bool = False, typing: bool = False) -> Iterator[tuple]:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: name the package, no relative import"
            names = [child.module or ""]
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(
            ("import_module", "__import__")
        ):
            names = [a.value for a in child.args[:1] if isinstance(a, ast.Constant)]
        for name in names:
            yield name.split(".")[0], child.lineno, lazy, typing
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                yield from walk(ast.Module([statement], []), lazy, True)
            for statement in child.orelse:
                yield from walk(ast.Module([statement], []), lazy, typing)
        else:
            yield from walk(child, lazy or inside, typing)


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for package in ARROWS:
        for file in sorted((ROOT / package).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            for name, line, lazy, typing in walk(ast.parse(file.read_text(), path)):
                found.append(Import(path, line, name, lazy, typing))
    return tuple(found)


def of(*packages: str) -> list[Import]:
    return [item for item in imports() if item.path.split("/")[0] in packages]


def test_there_is_something_to_hold():
    assert {item.path.split("/")[0] for item in imports()} == set(ARROWS)


def test_imports_follow_the_arrows():
    wrong = [
        item
        for item in imports()
        if item.package in ARROWS
        and item.package not in ARROWS[item.path.split("/")[0]]
        and not (item.path == SIM_DRIVER and item.package == "sim" and item.lazy)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_only_the_workstations_half_of_export_knows_torch_and_only_when_used():
    wrong = [
        item
        for item in of("sim", "robot", "export")
        if item.package in LEARNING
        and not (item.path in WORKSTATION_EXPORT and (item.lazy or item.typing))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_robot_and_export_know_no_simulator():
    wrong = [item for item in of("robot", "export") if item.package in SIMULATION]
    assert not wrong, "\n".join(map(str, wrong))


def test_the_robot_never_reaches_for_the_workstations_half_of_export():
    wrong = []
    for file in (ROOT / "robot").rglob("*.py"):
        text = file.read_text()
        wrong += [file.name for module in ("writer", "parity") if f"export.{module}" in text]
    assert not wrong


def test_robot_and_export_get_by_with_the_base_installation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {re.split(r"[^\w-]", item)[0] for item in project["dependencies"]}
    allowed = (
        {NAMES.get(name, name) for name in base}
        | {"pydantic_core"}  # part of pydantic
        | set(sys.stdlib_module_names)
        | {"robot", "export"}
    )
    wrong = [
        item
        for item in of("robot", "export")
        if item.package not in allowed
        and item.path not in WORKSTATION_EXPORT
        and not (item.path == SIM_DRIVER and item.lazy)
        and not (item.path == MCAP_EXPORT and item.package == "mcap" and (item.lazy or item.typing))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_everything_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split(r"[^\w-]", item)[0]
        for item in project["dependencies"]
        + project["optional-dependencies"]["train"]
        + project["optional-dependencies"]["mcap"]
        + project["optional-dependencies"]["ray"]
    }
    known = (
        {NAMES.get(name, name) for name in declared}
        | {"pydantic_core", "llvmlite"}  # parts of pydantic and of numba
        | set(sys.stdlib_module_names)
        | set(ARROWS)
    )
    wrong = [item for item in imports() if item.package not in known]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("packages", [("robot", "export"), ("sim",)])
def test_importing_every_module_loads_no_torch(packages):
    modules = [
        file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for package in packages
        for file in sorted((ROOT / package).rglob("*.py"))
        if file.name not in ("__init__.py", "__main__.py")
    ]
    forbidden = LEARNING | (set() if "sim" in packages else SIMULATION)
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & {forbidden!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[]"
