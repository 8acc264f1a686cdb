"""The wheel in dist/, in a clean environment of each Python: `python -m scripts.smoke`.

Installed as a user does, without constraints.txt. Runs on any Python from 3.10 on; needs nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "tests" / "export" / "version-1.bundle"
ROBOT = ("3.10", "3.11", "3.12", "3.13")
TRAIN = ("3.11", "3.12")  # as scripts/setup.sh
ACT = """
import sys
import numpy as np
from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy.policy import Policy
bundle = read_bundle(sys.argv[1])
policy, rng = Policy(bundle), np.random.default_rng(0)
width = sum(len(field.low) for field in bundle.manifest.observation_fields)
observation, posterior = np.zeros(width), policy.prior()
action = policy.act(observation, posterior.sample(rng))
posterior = policy.update(posterior, observation, action, 1.0, observation)
assert np.isfinite(policy.act(observation, posterior.likeliest)).all()
print(len(action), "actions,", "torch" in sys.modules and "torch was loaded" or "no torch")
"""


class Failed(Exception):
    """A command, and what it said."""


def interpreter(version: str) -> Path | None:
    """A Python of that version which starts, on the path or pyenv's; None where there is none."""
    named = [shutil.which(f"python{version}"), shutil.which("python3"), shutil.which("python")]
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for python in (*filter(None, named), *kept):
        show = "import sys; print('%d.%d' % sys.version_info[:2])"
        said = subprocess.run([python, "-c", show], capture_output=True, text=True, check=False)
        if said.returncode == 0 and said.stdout.strip() == version:
            return Path(python)
    return None


def smoke(python: Path, wheel: Path, folder: Path, *, train: bool, pip: list[str]) -> None:
    """Install the wheel beside nothing else, and run what a user runs first.

    Args:
        python: the interpreter that the environment is made with.
        wheel: fieldtune's.
        folder: where the environment is made; must not exist.
        train: with what the workstation needs.
        pip: further options of pip's.

    Raises:
        Failed: a command ended with another status than 0, or said another version.
    """
    _run(folder, python, "-m", "venv", folder)
    run = folder / "bin"
    wanted = f"{wheel}[train]" if train else str(wheel)
    _run(folder, run / "python", "-m", "pip", "install", "--quiet", *pip, wanted)
    _run(folder, run / "python", "-m", "pip", "check")
    version = f"fieldtune {wheel.name.split('-')[1]}"
    for program in ("fieldtune-robot", *(["fieldtune"] if train else [])):
        said = _run(folder, run / program, "--version")
        if said.splitlines()[0] != version:
            raise Failed(f"{program} --version says {said.splitlines()[0]}, not {version}")
        _run(folder, run / program, "--help")
        _run(folder, run / program, "doctor")
    print("   ", _run(folder, run / "python", "-c", ACT, BUNDLE).strip())


def _run(folder: Path, *command: str | Path) -> str:
    """Away from the checkout, whose own files would be imported."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder.parent, env=clean, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = " ".join(map(str, command[:6]))
        raise Failed(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _chosen(asked: list[str], known: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    found = {version: interpreter(version) for version in asked or known}
    missing = [version for version, python in found.items() if python is None]
    if missing:
        said = f"no Python {', '.join(missing)} on this machine"
        if asked:
            raise SystemExit(said)
        print(said)
    yield from ((version, python) for version, python in found.items() if python is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="the folder of the wheel")
    parser.add_argument("--python", action="append", help="a version that must be there, as 3.10")
    parser.add_argument("--train", action="store_true", help="with fieldtune[train]: gigabytes")
    parser.add_argument("--constraint", type=Path, help="versions for pip, as constraints.txt")
    given = parser.parse_args()
    wheels = sorted(given.dist.glob("fieldtune-*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"{given.dist} has {len(wheels)} wheels of fieldtune, not one: make dist")
    pip = ["--constraint", str(given.constraint.resolve())] if given.constraint else []
    ran = 0
    for version, python in _chosen(given.python or [], TRAIN if given.train else ROBOT):
        print(f"Python {version}, {wheels[0].name}{'[train]' if given.train else ''}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            environment = Path(folder) / "env"
            try:
                smoke(python, wheels[0].resolve(), environment, train=given.train, pip=pip)
            except Failed as failure:
                raise SystemExit(f"Python {version}: {failure}") from None
        ran += 1
    if not ran:
        raise SystemExit("nothing was run")


if __name__ == "__main__":
    main()
