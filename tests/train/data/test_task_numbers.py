from __future__ import annotations

import numpy as np
import pytest

from fieldtune.sim.family import TaskSplit
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.registry import names
from fieldtune.train.data.task_numbers import in_both, unwound


def test_directions_that_are_alike_are_told_alike_across_the_full_turn():
    ant = make_family("ant-dir")
    near, far = unwound(ant, np.array([[1.0], [359.0], [180.0]])), np.deg2rad(2.0)
    assert np.linalg.norm(near[0] - near[1]) == pytest.approx(far, rel=1e-3)
    assert np.linalg.norm(near[0] - near[2]) > 1.9


def test_other_parameters_are_told_as_they_are():
    tasks = np.array([[0.5], [1.0]])
    np.testing.assert_array_equal(unwound(make_family("cheetah-vel"), tasks), tasks)


@pytest.mark.parametrize("name", names())
def test_no_familys_own_split_trains_on_what_it_holds_out(name):
    family = make_family(name)
    assert in_both(family, family.split()) is None


@pytest.mark.parametrize(
    ("name", "held_out", "same"),
    [
        ("cheetah-vel", 1.0, (1, 0)),
        ("cheetah-vel", 1.0 + 1e-12, (1, 0)),
        ("cheetah-vel", 1.0 + 1e-6, None),
        ("ant-dir", 360.0, (0, 0)),
        ("ant-dir", 359.0, None),
    ],
)
def test_a_task_in_both_splits_is_found_but_for_rounding(name, held_out, same):
    tasks = TaskSplit(np.array([[0.0], [1.0], [2.0]]), np.array([[held_out]]))
    assert in_both(make_family(name), tasks) == same
