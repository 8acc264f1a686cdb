"""Pictures: what has to happen before the first one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DRAW = """
import mujoco
from fieldtune.sim.physics.rendering import Renderer
model = mujoco.MjModel.from_xml_string("<mujoco/>")
try:
    Renderer(model, mujoco.MjData(model), None).picture(16, 16)
except RuntimeError:  # no graphics on this machine
    pass
"""


def test_what_has_an_llvm_of_its_own_is_loaded_before_graphics_that_bring_another(tmp_path):
    """Else `fieldtune demo` dies where torch comes with triton and Mesa draws: it draws data, and
    then makes an optimiser."""
    said = """
loaded = open("/proc/self/maps").read()
print("graphics were there" if "libLLVM" in loaded or "libgallium" in loaded else "first")
"""
    (tmp_path / "triton.py").write_text(said + "\n")
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "first\n", done.stderr
