"""Who may know whom (docs/architecture.md): every import statement is held against the layers.

An import inside a function or under TYPE_CHECKING counts as any other: what holds a circle open
lazily is a circle.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HALVES = ("export", "sim", "robot", "train")
ARROWS = {
    "fieldtune": {"fieldtune"},
    "sim": {"sim", "fieldtune"},
    "export": {"export", "fieldtune"},
    "robot": {"robot", "export", "fieldtune"},
    "train": {"train", "robot", "export", "sim", "fieldtune"},
}
# A folder's rooms from the top down: one may import from those below, never from above or beside.
LAYERS: dict[str, tuple[set[str], ...]] = {
    "fieldtune": (
        {"machine"},
        {"open_files", "plugins", "settings"},
        {"errors", "files", "findings", "interrupts", "lock"},
        {
            "child_process",
            "config_paths",
            "exit_status",
            "file_errors",
            "own_files",
            "plain_yaml",
            "regular_file",
            "str_enum",
            "versions",
        },
    ),
    "export": (
        {"openvino_folder", "ros2_control"},
        {"convert"},
        {"writer"},
        {"bundle", "plain"},
        {"graph", "parity", "differences"},
        {"archive", "manifest", "protobuf", "sessions"},
        {"making"},
    ),
    "robot": (
        {"launch"},
        {"cli"},
        {"programs", "view"},
        {"monitor"},
        {"loop", "rewards", "actions", "mcap", "driver_trial"},
        {"drivers"},
        {"bridge"},  # a bundle stands its trial before it is handed on
        {"bundles"},
        {"computer", "policy", "safety"},
        {"journal", "timing", "curve_keys"},
        {"episodes", "config", "outlet", "rationed_log"},
    ),
    "sim": (
        {"registry", "checks"},
        {"point_goal"},
        {
            "locomotion",
            "manipulation",
            "mjcf",
            "gymnasium",
            "label_only",
            "noisy_script",
            "scripted",
            "success",
        },
        {"planned"},
        {"rollout", "physics", "drawn_tasks"},
        {"family"},
    ),
    "sim/locomotion": (
        {"ant_dir", "cheetah_vel", "humanoid_dir", "hopper_params", "walker_params"},
        {"direction", "varying_body"},
        {"family"},
        {"simulators"},
    ),
    "sim/manipulation": (
        {"families", "reach", "scripted"},
        {"family"},
        {"simulators", "scripts"},
        {"scene"},
        {"arms", "fixtures", "start", "variation"},
    ),
    "train": (
        {"launch"},
        {"cli"},
        {"study"},
        {"reports", "view"},
        {"evaluation", "phases", "collecting"},
        {"runs"},
        {"algorithms"},
        {"agent", "exporting"},
        {"importing"},
        {"data", "workstation"},
        {"captured", "cluster", "device_trial"},
        {
            "alone",
            "bridge",
            "charts",
            "config",
            "console",
            "cores",
            "device",
            "new_package",
            "process_settings",
            "turns",
        },
        {"algorithm_settings", "cpu_products"},
    ),
}
SIM_DRIVER = "robot/drivers/sim.py"
# An extra of its own: says what to install where it is missing.
MCAP_EXPORT = "robot/mcap/export.py"
VIEWER = {"robot/view/recording.py", "robot/view/layout.py"}
# In 3-D where mujoco is there, in a process that drives nothing.
VIEWED_MODEL = "robot/view/model.py"
WORKSTATION_EXPORT = {
    "export/convert.py",
    "export/openvino_folder.py",
    "export/parity.py",
    "export/plain.py",
    "export/ros2_control.py",
    "export/writer.py",
}
LEARNING = {"torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "tensorboard"}
SIMULATION = {"mujoco", "robosuite", "gymnasium", "numba"}
EXTRAS = (
    *("train", "mcap", "parquet", "ray", "openvino", "view"),
    *("wandb", "mlflow", "trackio"),
)
NAMES = {
    "PyYAML": "yaml",
    "rerun-sdk": "rerun",
    "onnx-ir": "onnx_ir",
    "pillow": "PIL",
    "pyzmq": "zmq",
}


@dataclass(frozen=True)
class Import:
    """One imported name; `lazy` when inside a function, `typing` when never run."""

    path: str
    line: int
    name: str
    lazy: bool
    typing: bool

    @property
    def package(self) -> str:
        """The distribution's package, or which half of fieldtune."""
        first, *rest = self.name.split(".")
        if first != "fieldtune":
            return first
        return rest[0] if rest and rest[0] in HALVES else "fieldtune"

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.name}"


def walk(node: ast.AST, lazy: bool = False, typing: bool = False) -> Iterator[tuple]:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: name the package, no relative import"
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(
            ("import_module", "__import__")
        ):
            names = [a.value for a in child.args[:1] if isinstance(a, ast.Constant)]
        for name in names:
            yield name, child.lineno, lazy, typing
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                yield from walk(ast.Module([statement], []), lazy, True)
            for statement in child.orelse:
                yield from walk(ast.Module([statement], []), lazy, typing)
        else:
            yield from walk(child, lazy or inside, typing)


def sources() -> list[Path]:
    shared = sorted((ROOT / "fieldtune").glob("*.py"))  # the links beside them lead to the halves
    return shared + [file for half in HALVES for file in sorted((ROOT / half).rglob("*.py"))]


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts if parts[0] == "fieldtune" else ("fieldtune", *parts))
    return name.removesuffix(".__init__")


@cache
def imports() -> tuple[Import, ...]:
    return tuple(
        Import(file.relative_to(ROOT).as_posix(), line, name, lazy, typing)
        for file in sources()
        for name, line, lazy, typing in walk(ast.parse(file.read_text(), str(file)))
    )


@cache
def edges() -> tuple[tuple[Import, str], ...]:
    """Imports of ours, each with the path of the module that it names."""
    modules = {module_of(file): file.relative_to(ROOT).as_posix() for file in sources()}
    found = []
    for item in imports():
        for name in (item.name, item.name.rpartition(".")[0]):
            if name in modules:
                if modules[name] != item.path and not modules[name].endswith("__init__.py"):
                    found.append((item, modules[name]))
                break
    return tuple(found)


def room_of(path: str, folder: str) -> str | None:
    """The file or folder right in `folder` that `path` is, or lies in; None where in neither."""
    inside = path.startswith(f"{folder}/")
    return path[len(folder) + 1 :].partition("/")[0].removesuffix(".py") if inside else None


def of(*packages: str) -> list[Import]:
    return [item for item in imports() if item.path.split("/")[0] in packages]


def test_there_is_something_to_hold():
    assert {item.path.split("/")[0] for item in imports()} == set(ARROWS)
    assert len(edges()) > 500


def test_imports_follow_the_arrows():
    wrong = [
        item
        for item in imports()
        if item.package in ARROWS
        and item.package not in ARROWS[item.path.split("/")[0]]
        and not (item.path == SIM_DRIVER and item.package == "sim" and item.lazy)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_nothing_is_imported_from_the_folders_themselves():
    """`import robot` works in a checkout alone: another package of that name would be meant."""
    files = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}: say fieldtune.{name}"
        for file in files
        for name, line, _, _ in walk(ast.parse(file.read_text(), str(file)))
        if name.split(".")[0] in HALVES
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", LAYERS)
def test_every_room_has_its_layer(folder):
    rooms = {room_of(file.relative_to(ROOT).as_posix(), folder) for file in sources()}
    assert rooms - {"__init__", None} == set().union(*LAYERS[folder])


@pytest.mark.parametrize("folder", LAYERS)
def test_rooms_import_from_below_alone(folder):
    level = {room: depth for depth, rooms in enumerate(LAYERS[folder]) for room in rooms}
    wrong = []
    for item, path in edges():
        room, other = room_of(item.path, folder), room_of(path, folder)
        if room and other and room != other and level[room] >= level[other]:
            where = "is above it" if level[room] > level[other] else "stands beside it"
            wrong.append(f"{item}: {folder}/{other} {where}, {folder}/{room} may not know it")
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_imports():
    graph: dict[str, set[str]] = {}
    for item, path in edges():
        graph.setdefault(item.path, set()).add(path)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_only_the_workstations_half_of_export_knows_torch_and_only_when_used():
    wrong = [
        item
        for item in of("sim", "robot", "export", "fieldtune")
        if item.package in LEARNING
        and not (item.path in WORKSTATION_EXPORT and (item.lazy or item.typing))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_robot_and_export_know_no_simulator():
    wrong = [
        item
        for item in of("robot", "export", "fieldtune")
        if item.package in SIMULATION and not (item.path == VIEWED_MODEL and item.lazy)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_the_robot_never_reaches_for_the_workstations_half_of_export():
    wrong = [str(item) for item, path in edges() if path in WORKSTATION_EXPORT]
    assert not [item for item in wrong if item.startswith("robot/")]


def test_robot_and_export_get_by_with_the_base_installation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {re.split(r"[^\w-]", item)[0] for item in project["dependencies"]}
    allowed = (
        {NAMES.get(name, name) for name in base}
        | {"pydantic_core"}  # part of pydantic
        | set(sys.stdlib_module_names)
        | {"robot", "export", "fieldtune"}
    )
    wrong = [
        item
        for item in of("robot", "export", "fieldtune")
        if item.package not in allowed
        and item.path not in WORKSTATION_EXPORT
        and not (item.path == SIM_DRIVER and item.lazy)
        and not (item.path == MCAP_EXPORT and item.package == "mcap" and (item.lazy or item.typing))
        and not (item.path in VIEWER and item.package == "rerun" and item.lazy)
        and not (item.path == VIEWED_MODEL and item.package == "mujoco" and item.lazy)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_everything_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split(r"[^\w-]", item)[0]
        for item in project["dependencies"]
        + [one for extra in EXTRAS for one in project["optional-dependencies"][extra]]
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
        module_of(file)
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


def test_the_picture_of_the_layers_is_as_the_code_is():
    from scripts.architecture import PICTURE, draw

    assert PICTURE.read_text() == draw(), "draw it anew: python -m scripts.architecture"
