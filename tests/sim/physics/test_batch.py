"""Compiled code reads and writes by address: what is not there any more must not be touched."""

from __future__ import annotations

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


def test_arrays_of_other_numbers_are_refused_by_name(batch):
    with pytest.raises(TypeError, match="moment_colind holds int32, expected float64"):
        batch.read("moment_colind")


def test_a_closed_batch_is_neither_stepped_nor_read(batch):
    batch.read("qpos")
    batch.close()
    with pytest.raises(ValueError, match="expected finite"):
        batch.step(np.zeros((3, 6)))
    with pytest.raises(IndexError):
        batch.read("qpos")
