"""Headless pictures of a MuJoCo state; a graphics context is opened on the first one."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import mujoco
import numpy as np
from numpy.typing import NDArray

# Of packages that hold an LLVM of their own. Loaded after Mesa's software renderer, which brings
# another, they crash the process; before it, both work. torch's optimisers load it, where it is.
_BEFORE_GRAPHICS = ("triton",)


@dataclass(frozen=True)
class View:
    """Where the camera stands: a point to look at (m), a distance (m) and angles (degrees).

    `track` names a body that the camera follows; `lookat` is then ignored. `geom_groups` are those
    shown; empty shows MuJoCo's default.
    """

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float
    track: str | None = None
    geom_groups: tuple[int, ...] = ()


class Renderer:
    """Pictures of one `MjData`; the context is made on first use and remade for another size."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, view: View | str | None) -> None:
        """Args:
        view: a camera of the model by its name; None is one that sees all of it.
        """
        self._model, self._data = model, data
        self._view = view
        self._context: mujoco.Renderer | None = None

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        """An RGB picture `(height, width, 3)`."""
        context = self._context
        if context is None or (context.width, context.height) != (width, height):
            self.close()
            buffer = self._model.vis.global_
            buffer.offwidth = max(buffer.offwidth, width)
            buffer.offheight = max(buffer.offheight, height)
            try:
                _load_before_graphics()
                _choose_graphics()
                context = self._context = mujoco.Renderer(self._model, height, width)
            except Exception as error:
                raise RuntimeError(
                    f"no picture of {width} x {height}: mujoco got no graphics context ({error}); "
                    "install EGL (Debian: libegl1), or libosmesa6 and start with MUJOCO_GL=osmesa"
                ) from error
            atexit.register(self.close)  # a context outliving the library complains at exit
        context.update_scene(self._data, self._camera(), self._options())
        return context.render()

    def close(self) -> None:
        """Free the graphics context, if there is one."""
        if self._context is not None:
            atexit.unregister(self.close)
            self._context.close()
            self._context = None

    def _camera(self) -> mujoco.MjvCamera | str:
        if isinstance(self._view, str):
            return self._view
        camera = mujoco.MjvCamera()
        if self._view is None:
            mujoco.mjv_defaultFreeCamera(self._model, camera)
            return camera
        camera.lookat[:] = self._view.lookat
        camera.distance = self._view.distance
        camera.azimuth, camera.elevation = self._view.azimuth, self._view.elevation
        if self._view.track is not None:
            camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            camera.trackbodyid = self._model.body(self._view.track).id
        return camera

    def _options(self) -> mujoco.MjvOption:
        options = mujoco.MjvOption()
        if isinstance(self._view, View) and self._view.geom_groups:
            options.geomgroup[:] = 0
            options.geomgroup[list(self._view.geom_groups)] = 1
        return options


def _load_before_graphics() -> None:
    for name in _BEFORE_GRAPHICS:
        with suppress(ImportError):
            import_module(name)


def _choose_graphics() -> None:
    """Without a display, use EGL, unless the environment asked for something else.

    mujoco picks its graphics library when it is first imported, from a variable that may not have
    been set by then; importing EGL where it is missing would fail for who wants no pictures.
    """
    headless = sys.platform.startswith("linux") and "DISPLAY" not in os.environ
    if headless and os.environ.get("MUJOCO_GL", "egl") == "egl":
        from mujoco.egl import GLContext

        sys.modules[mujoco.Renderer.__module__].gl_context.GLContext = GLContext
