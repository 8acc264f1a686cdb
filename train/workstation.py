"""Looks at the workstation for `fieldtune doctor`: libraries, GPU, pictures, disk, ports.

Must not import torch or mujoco itself: a broken one is a finding.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fieldtune import machine
from fieldtune.findings import Finding

if TYPE_CHECKING:
    from fieldtune.train.config import RunConfig

ROOM = 2_000_000_000
"""Bytes for a run beside its data; with less that is noted."""

TRIAL_S = 120.0
_GPU = """
import sys
from fieldtune.train.device import DeviceError, resolve
try:
    print(resolve(sys.argv[1]))
except DeviceError as error:
    print("no:", error)
"""
_PICTURE = """
import mujoco
from fieldtune.sim.physics.rendering import Renderer
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
print(Renderer(model, data, None).picture(32, 32).shape)
"""


def look(config: RunConfig | None) -> Iterator[Finding]:
    """Every finding, one after the other.

    Args:
        config: of the run that is to be made here; None looks at what holds for any.
    """
    yield machine.python()
    yield machine.libraries("train")
    yield machine.extras()
    for tracker in () if config is None else config.trackers:
        if tracker in machine.known_extras():
            yield replace(machine.libraries(tracker), subject="tracker")
    yield machine.open_files()
    yield gpu("auto" if config is None else config.device)
    yield pictures()
    yield machine.clock()
    yield machine.disk("working folder", Path.cwd(), ROOM)
    if config is not None:
        yield machine.disk("data.path", Path(config.data.path), ROOM, "set data.path elsewhere")
        if config.robot.bridge is not None:
            yield machine.port_to_open("robot.bridge", "robot.bridge", config.robot.bridge)


def gpu(asked: str) -> Finding:
    """Whether the device that the key `device` asks for computes, tried in its own process."""
    if find_spec("torch") is None:
        return Finding("device", "torch is not installed", 'pip install "fieldtune[train]"')
    if asked == "cpu":
        return Finding("device", "cpu, as asked")
    done = _tried(_GPU, "cuda" if asked == "auto" else asked)
    if isinstance(done, str):
        return Finding("device", done, "see to the NVIDIA driver, or set device=cpu")
    if done.returncode:
        return Finding("device", _last(done.stderr), "install torch anew")
    said = done.stdout.strip()
    if not said.startswith("no: "):
        return Finding("device", f"{said} computes")
    why = said.removeprefix("no: ").removeprefix("device is 'cuda', but ")
    if asked != "auto":
        return Finding("device", f"{asked} cannot be had", why)
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return Finding("device", "cpu, although there is a GPU", why, needed=False)
    return Finding("device", "cpu: this machine has no NVIDIA GPU")


def pictures() -> Finding:
    """Whether mujoco gets a graphics context, EGL where there is no display; in its own process."""
    if find_spec("mujoco") is None:
        return Finding("pictures", "mujoco is not installed", 'pip install "fieldtune[train]"')
    done = _tried(_PICTURE)
    by = os.environ.get("MUJOCO_GL") or ("a display" if os.environ.get("DISPLAY") else "egl")
    if not isinstance(done, str) and done.returncode == 0:
        return Finding("pictures", f"drawn by {by}")
    said = done if isinstance(done, str) else _last(done.stderr)
    cure = (
        "install EGL (Debian: libegl1 libgl1), or libosmesa6 and start with MUJOCO_GL=osmesa; "
        "until then pictures are left out, and all else works"
    )
    return Finding("pictures", said, cure, needed=False)


def _tried(program: str, *arguments: str) -> subprocess.CompletedProcess[str] | str:
    """A Python program's end, or a sentence where it has none."""
    try:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TRIAL_S:.0f} s"


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["ended without a word"])[-1]
