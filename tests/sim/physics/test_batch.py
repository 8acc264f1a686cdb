"""Compiled code reads and writes by address: what is not there any more must not be touched."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
import pytest

from fieldtune.sim.locomotion.simulators import model
from fieldtune.sim.physics.batch import MujocoBatch

CHEETAH = model("half_cheetah.xml")


@pytest.fixture
def batch():
    made = MujocoBatch([CHEETAH] * 3, substeps=2)
    yield made
    made.close()


def test_what_is_read_is_every_copys_own_array(batch):
    rng = np.random.default_rng(0)
    batch.set(rng.normal(0, 0.1, (3, 9)), rng.normal(0, 0.1, (3, 9)))
    batch.step(rng.uniform(-1, 1, (3, 6)))
    for name in ("qpos", "qvel", "xpos", "cfrc_ext"):
        expected = [getattr(data, name) for data in batch.data]
        np.testing.assert_array_equal(batch.read(name), expected)


def test_a_step_is_mujocos_own_and_copies_that_do_not_move_stay(batch):
    alone = mujoco.MjData(CHEETAH)
    action = np.full((3, 6), 0.5)
    alone.ctrl[:] = action[0]
    mujoco.mj_step(CHEETAH, alone, 2)
    before = batch.read("qpos")
    batch.step(action, np.array([True, False, True]))
    np.testing.assert_array_equal(batch.read("qpos")[0], alone.qpos)
    np.testing.assert_array_equal(batch.read("qpos")[1], before[1])


OF_ONE_STEP = ("contact", "efc_", "tendon_efcadr", "solver", "timer", "maxuse")
OF_ISLANDS = ("dof_island", "iLD", "iM", "iacc", "iefc", "ifrc", "island")  # which are off: garbage


@pytest.mark.parametrize("asset", ["ant.xml", "humanoid.xml"])
def test_every_array_is_as_if_each_copy_had_stepped_alone(asset):
    """Whatever anybody may read, of copies that touch the ground in other ways and of two threads:
    a step in another copy's memory leaves nothing of that copy behind."""
    body, copies = model(asset), 5
    rng = np.random.default_rng(3)
    starts = body.qpos0 + rng.uniform(-0.1, 0.1, (copies, body.nq)), np.zeros((copies, body.nv))
    starts[0][:, 2] -= 0.3 * np.arange(copies)  # some from within the ground
    batch = MujocoBatch([body] * copies, substeps=2, threads=2, contact_forces=True)
    assert len(batch._borrowed.addresses) == 2
    batch.set(*starts)
    alone = [mujoco.MjData(body) for _ in range(copies)]
    for data, qpos, qvel in zip(alone, *starts, strict=True):
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(body, data)
    moving = np.array([True, True, False, True, True])
    for _ in range(12):
        controls = rng.uniform(-1, 1, (copies, body.nu))
        batch.step(controls, moving)
        for index in np.flatnonzero(moving):
            data = alone[index]
            data.ctrl[:] = controls[index]
            mujoco.mj_step(body, data, 2)
            mujoco.mj_rnePostConstraint(body, data)
    assert len({data.ncon for data in alone}) > 1
    names = [
        name for name in dir(alone[0]) if not name.startswith(("_", *OF_ONE_STEP, *OF_ISLANDS))
    ]
    numbers = ((name, getattr(alone[0], name)) for name in names)  # MuJoCo sets all floats alone
    arrays = [name for name, it in numbers if getattr(it, "dtype", None) == np.float64]
    assert {"qpos", "qacc_warmstart", "cfrc_ext", "xpos", "cinert"} < set(arrays)
    for one, other in zip(alone, batch.data, strict=True):
        assert one.time == other.time
        for name in arrays:
            mine, theirs = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
    batch.close()


def test_models_of_their_own_are_stepped_in_their_own_memory():
    heavier = copy.copy(CHEETAH)
    heavier.body_mass[1] *= 2.0
    batch = MujocoBatch([CHEETAH, heavier], substeps=1)
    assert len(batch._borrowed.addresses) == 0
    batch.set(np.zeros((2, 9)), np.zeros((2, 9)))
    batch.step(np.full((2, 6), 0.5))
    alone = mujoco.MjData(heavier)
    alone.ctrl[:] = 0.5
    mujoco.mj_forward(heavier, alone)
    mujoco.mj_step(heavier, alone)
    np.testing.assert_array_equal(batch.read("qpos")[1], alone.qpos)
    assert not np.array_equal(batch.read("qpos")[0], alone.qpos)
    batch.close()


def test_arrays_of_other_numbers_are_refused_by_name(batch):
    with pytest.raises(TypeError, match="moment_colind holds int32, expected float64"):
        batch.read("moment_colind")
    with pytest.raises(TypeError, match="energy has no place of its own"):
        batch.read("energy")


def test_a_closed_batch_is_neither_stepped_nor_read(batch):
    batch.read("qpos")
    batch.close()
    with pytest.raises(ValueError, match="expected finite"):
        batch.step(np.zeros((3, 6)))
    with pytest.raises(IndexError):
        batch.read("qpos")
