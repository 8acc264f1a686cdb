"""Task families and fast batched simulators. No torch; mujoco only once a simulator is made."""

import os
import sys

# mujoco picks its graphics library when it is first imported; without a display only EGL works.
if sys.platform.startswith("linux") and "DISPLAY" not in os.environ:
    os.environ.setdefault("MUJOCO_GL", "egl")
