"""One environment for all examples: fieldtune's wheel, and each package installed beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldtune.train.new_package.make import Kind, make
from fieldtune.train.new_package.name import PackageName

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your-own-robot.md"
EXAMPLES = ("ur5e_reach", "rover_velocity", "bench_logs")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def own_robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that docs/your-own-robot.md makes, with every file that it shows."""
    folder = make(Kind.ROBOT, PackageName("desk-crane"), tmp_path_factory.mktemp("page")).folder
    module = folder / "desk_crane"
    (module / "arm.xml").unlink()
    for name, text in re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE.read_text(), re.S | re.M):
        is_module = name.endswith(".xml") or (module / name).exists()
        (module if is_module else folder).joinpath(name).write_text(text)
    (edit,) = re.findall(r"^sed -i .*$", PAGE.read_text(), re.M)
    subprocess.run(edit, shell=True, check=True, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def run_there(wheel: Path, own_robot: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run_there(command…, cwd=folder)` in a clean environment with the wheel and every package.

    Third-party libraries are those that the tests run with; of fieldtune there is the wheel alone.
    """
    work = tmp_path_factory.mktemp("strangers")
    environment = work / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (libraries,) = environment.glob("lib/python*/site-packages")
    # What a .pth names is searched, but no .pth in it is read: one there leads to the checkout.
    places = [place for place in sys.path if place.endswith("site-packages")]
    (libraries / "libraries.pth").write_text("\n".join(places))
    packages = [own_robot, *(copied(name, work) for name in EXAMPLES)]
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *offline, wheel, *packages], check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    clean |= {"PATH": f"{environment / 'bin'}:{clean['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(*command: str | Path, cwd: Path, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=cwd, env=clean, input=input, capture_output=True, text=True, check=False
        )

    return run


def copied(name: str, into: Path) -> Path:
    """An example as it is committed, in a folder of its own: what it writes stays out of ours."""
    folder = into / name
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", f"examples/{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        target = into / Path(line).relative_to("examples")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / line, target)
    return folder
