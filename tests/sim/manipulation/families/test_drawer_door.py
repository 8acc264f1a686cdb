"""drawer-door is about the right thing, open just so far; a handle is where its joint has it."""

import numpy as np
import pytest

from fieldtune.sim.manipulation.families.drawer_door import DrawerDoorFamily
from fieldtune.sim.manipulation.fixtures import KINDS

FAMILY = DrawerDoorFamily()


@pytest.mark.parametrize(("share", "expected"), [(0.5, True), (0.61, True), (0.64, False)])
@pytest.mark.parametrize("which", [0, 1])
def test_the_right_thing_must_be_open_just_so_far(which: int, share: float, expected: bool) -> None:
    name = ("drawer", "door")[which]
    observation = np.zeros(29)
    observation[24 if which == 0 else 28] = share * KINDS[name].travel
    assert FAMILY.part(observation, f"{name}_opening")[0] > 0
    assert bool(FAMILY.success(observation, np.array([which, 0.5]))) is expected
    assert not FAMILY.success(observation, np.array([1 - which, 0.5]))


@pytest.mark.slow
def test_observed_handles_and_tops_are_where_mujoco_has_the_bodies() -> None:
    """The arithmetic of a fixture's point, against the kinematics of its model."""
    import mujoco

    from fieldtune.sim.manipulation.simulators.tabletop import Tabletop

    environment = Tabletop(FAMILY.arm, FAMILY.scene)
    environment.begin(FAMILY.start(0, FAMILY.sample_tasks(0, 1)[0]))
    model, data = environment.sim.model._model, environment.sim.data._data
    bodies = {"drawer": "drawer_tray", "door": "door_panel"}
    fixed = {}
    for share in (0.0, 0.5, 1.0):
        for name, address in zip(bodies, environment.addresses.fixtures, strict=True):
            data.qpos[address] = share * KINDS[name].travel
        mujoco.mj_kinematics(model, data)
        for name, body in bodies.items():
            part = data.body(body)
            point = FAMILY.part(environment.observe(), f"{name}_handle")
            world = point + environment.base_position
            local = part.xmat.reshape(3, 3).T @ (world - part.xpos)
            np.testing.assert_allclose(local, fixed.setdefault(name, local), atol=1e-9)
    environment.close()
