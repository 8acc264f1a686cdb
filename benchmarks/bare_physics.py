"""`mj_step` in C with nothing around it: the floor under every simulator.

Compiles bare_physics.c against the headers and the library of the installed mujoco, on first use.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_suffix(".c")


class NoCompiler(Exception):
    """The floor cannot be built here. The message says what is missing."""


class BarePhysics:
    """Copies of one model, stepped by the C loop.

    Args:
        model: shared by all copies.
        copies: how many; `data` are their states, to be set by the caller.
        substeps: physics steps in a control period.
        contact_forces: whether `mj_rnePostConstraint` follows, as gymnasium has it for some robots.
    """

    def __init__(
        self, model: mujoco.MjModel, copies: int, substeps: int, *, contact_forces: bool = False
    ) -> None:
        self.model = model
        self.data = [mujoco.MjData(model) for _ in range(copies)]
        self._function = _compiled()
        self._addresses = (ctypes.c_void_p * copies)(*(data._address for data in self.data))
        self._substeps, self._contact_forces = substeps, contact_forces

    def run(self, controls: NDArray[np.float64], threads: int) -> None:
        """Hold each of `controls` `(period, copy, actuator)` for one control period."""
        expected = (len(self.data), self.model.nu)
        if controls.shape[1:] != expected or not controls.flags.c_contiguous:
            raise ValueError(f"controls are {controls.shape}: expected contiguous (n, *{expected})")
        failed = self._function(
            ctypes.c_void_p(self.model._address),
            self._addresses,
            controls.ctypes.data_as(ctypes.c_void_p),
            len(self.data),
            len(controls),
            self._substeps,
            self._contact_forces,
            threads,
        )
        if failed:
            raise OSError(f"bare_physics could not start {threads} threads")


@cache
def _compiled() -> Callable[..., int]:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("no C compiler: install gcc, or set CC")
    package = Path(mujoco.__file__).parent
    library = next(package.glob("libmujoco.*"))
    built = Path(tempfile.mkdtemp(prefix="fieldtune-bench-")) / "bare_physics.so"
    command = [compiler, "-O3", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o", str(built)]
    command += [f"-I{package / 'include'}", str(library), f"-Wl,-rpath,{package}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoCompiler(f"{compiler} does not compile {SOURCE.name}: {done.stderr.strip()[-300:]}")
    function: Callable[..., int] = ctypes.CDLL(str(built)).bare_physics
    return function
