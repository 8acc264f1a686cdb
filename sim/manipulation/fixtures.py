"""What can stand on the table besides loose blocks: a button, a drawer, a door and places to put.

Each is MJCF text and the arithmetic of the point that a hand goes to. No mujoco is imported. A
fixture is a mocap body, so that one model serves every task: where it stands is part of the state.
Its frame has the table's top at z = 0 and looks at the robot along −x. Lengths in metres. Masses
are stated: robosuite's models count no geom that shows (group 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array

BUTTON_TRAVEL, BUTTON_TOP = 0.02, 0.055
DRAWER_TRAVEL = 0.12
DOOR_TRAVEL = 1.0  # rad
DOOR_GRIP = (-0.04, -0.14)  # from the hinge, where a finger goes
DOOR_HINGE = (0.0, 0.08)
GRIP_HEIGHT = 0.045
SHELF_HEIGHT, SHELF_HALF = 0.04, 0.05
LEDGE_HALF = (0.05, 0.24)


@dataclass(frozen=True)
class Kind:
    """What one kind of fixture is made of.

    `mjcf` is the body, `{name}` in it the fixture's name; its joint is called so. `point` names the
    point that is observed, `offset` gives it, `(..., 3)` from where the fixture stands, of the
    joint's position `(...,)`. `joint` names that position; None where nothing moves. `rubs` are
    pairs of bodies that do not touch.
    """

    mjcf: str
    point: str
    offset: Callable[[Array], Array]
    joint: str | None = None
    unit: str = "m"
    travel: float = 0.0
    rubs: tuple[tuple[str, str], ...] = ()


def _stacked(x: Array, y: Array, z: Array) -> Array:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _door_grip(angle: Array) -> Array:
    (x, y), (hinge_x, hinge_y) = DOOR_GRIP, DOOR_HINGE
    cos, sin = np.cos(angle), np.sin(angle)
    return _stacked(hinge_x + cos * x + sin * y, hinge_y - sin * x + cos * y, np.array(GRIP_HEIGHT))


_BUTTON = """
<body name="{name}" mocap="true">
  <geom group="1" type="box" size="0.035 0.035 0.014" pos="0 0 0.014" rgba="0.3 0.3 0.35 1"/>
  <body name="{name}_cap" pos="0 0 0.03" gravcomp="1">
    <inertial pos="0 0 0.0125" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
    <joint name="{name}" type="slide" axis="0 0 -1" range="0 0.02" limited="true"
           damping="5" frictionloss="2"/>
    <geom group="1" type="cylinder" size="0.022 0.0125" pos="0 0 0.0125"
          rgba="0.9 0.15 0.1 1"/>
  </body>
</body>"""

_DRAWER = """
<body name="{name}" mocap="true">
  <geom group="1" type="box" size="0.065 0.005 0.031" pos="0.065 0.067 0.031" rgba="0.6 0.5 0.4 1"/>
  <geom group="1" type="box" size="0.065 0.005 0.031" pos="0.065 -0.067 0.031"
        rgba="0.6 0.5 0.4 1"/>
  <geom group="1" type="box" size="0.065 0.072 0.004" pos="0.065 0 0.066" rgba="0.6 0.5 0.4 1"/>
  <body name="{name}_tray">
    <inertial pos="0.05 0 0.03" mass="0.4" diaginertia="1e-3 1e-3 1e-3"/>
    <joint name="{name}" type="slide" axis="-1 0 0" range="0 0.12" limited="true"
           damping="5" frictionloss="1"/>
    <geom group="1" type="box" size="0.06 0.06 0.026" pos="0.062 0 0.031"
          rgba="0.8 0.7 0.5 1"/>
    <geom group="1" type="box" size="0.03 0.045 0.004" pos="-0.03 0 0.01"
          rgba="0.5 0.5 0.5 1"/>
    <geom group="1" type="box" size="0.005 0.045 0.025" pos="-0.055 0 0.031"
          rgba="0.5 0.5 0.5 1"/>
  </body>
</body>"""

_DOOR = """
<body name="{name}" mocap="true">
  <geom group="1" type="box" size="0.05 0.09 0.033" pos="0.062 0 0.033" rgba="0.45 0.5 0.6 1"/>
  <body name="{name}_panel" pos="0 0.08 0">
    <inertial pos="-0.01 -0.08 0.036" mass="0.25" diaginertia="6e-4 6e-4 6e-4"/>
    <joint name="{name}" type="hinge" axis="0 0 -1" range="0 1.0" limited="true"
           damping="0.2" frictionloss="0.05"/>
    <geom group="1" type="box" size="0.006 0.08 0.03" pos="-0.008 -0.08 0.036"
          rgba="0.6 0.7 0.85 1"/>
    <geom group="1" type="box" size="0.03 0.018 0.004" pos="-0.044 -0.14 0.01"
          rgba="0.5 0.5 0.5 1"/>
    <geom group="1" type="box" size="0.005 0.018 0.025" pos="-0.07 -0.14 0.031"
          rgba="0.5 0.5 0.5 1"/>
  </body>
</body>"""

_SHELF = """
<body name="{name}" mocap="true">
  <geom group="1" type="box" size="0.05 0.05 0.02" pos="0 0 0.02" rgba="0.35 0.6 0.4 1"/>
</body>"""

_LEDGE = """
<body name="{name}" mocap="true">
  <geom group="1" type="box" size="0.05 0.24 0.02" pos="0 0 0.02" rgba="0.35 0.6 0.4 1"/>
</body>"""

_NOTHING = np.zeros(())


def _top(height: float) -> Callable[[Array], Array]:
    return lambda value: _stacked(_NOTHING, _NOTHING, height + 0.0 * value)


KINDS = {
    "button": Kind(
        _BUTTON,
        "top",
        lambda pressed: _stacked(_NOTHING, _NOTHING, BUTTON_TOP - pressed),
        joint="pressed",
        travel=BUTTON_TRAVEL,
        rubs=(("{name}", "{name}_cap"),),
    ),
    "drawer": Kind(
        _DRAWER,
        "handle",
        lambda opening: _stacked(-0.025 - opening, _NOTHING, np.array(GRIP_HEIGHT)),
        joint="opening",
        travel=DRAWER_TRAVEL,
        rubs=(("{name}", "{name}_tray"),),
    ),
    "door": Kind(
        _DOOR,
        "handle",
        _door_grip,
        joint="opening",
        unit="rad",
        travel=DOOR_TRAVEL,
        rubs=(("{name}", "{name}_panel"),),
    ),
    "shelf": Kind(_SHELF, "top", _top(SHELF_HEIGHT)),
    "ledge": Kind(_LEDGE, "top", _top(SHELF_HEIGHT)),
}
