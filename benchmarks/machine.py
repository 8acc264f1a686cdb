"""What the numbers were made on: processor, memory, system, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.turns import cores
from fieldtune.train.process_settings import environment

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "fieldtune",
    "torch",
    "numpy",
    "mujoco",
    "robosuite",
    "gymnasium",
    "numba",
    "onnxruntime",
    "pyzmq",
    "msgspec",
)


def machine() -> dict[str, str]:
    """Facts in the order in which they are read."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {cores()} of {os.cpu_count()} cores used",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "set by the launcher": ", ".join(f"`{name}={v}`" for name, v in environment({}).items()),
        "load before the start": f"{os.getloadavg()[0]:.1f}; more than a little spoils the numbers",
        "commit": _commit(),
    }


def versions() -> dict[str, str]:
    """Of what is compared and what it stands on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def facts() -> list[str]:
    """Both, a line each."""
    said = machine() | {"versions": ", ".join(f"{name} {v}" for name, v in versions().items())}
    return [f"- {name}: {what}" for name, what in said.items()]


def filesystem(path: Path) -> str:
    """The kind that `path` is on, as the kernel calls it."""
    path = path.resolve()
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    within = [(where, kind) for where, kind in mounts if path.is_relative_to(where)]
    return max(within, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
