"""Islands are left out of a family's models exactly where that changes no bit."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from fieldtune.sim.family import Array, TaskFamily, bounds
from fieldtune.sim.physics.islands import leave_out_islands
from fieldtune.sim.registry import family, names

BIT = int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)  # all that a next step hangs on, warm start too
TABLES = ("drawer-door", "multi", "pick-place", "push")
WITHOUT_MUJOCO = ("point-goal",)
COPIES = 3


def states(simulator: Any) -> list[mujoco.MjData]:
    """The simulator's own; it has no name for them that outsiders should use."""
    return simulator._batch.data if hasattr(simulator, "_batch") else simulator._data


def episode(
    one: TaskFamily, steps: int, monkeypatch: pytest.MonkeyPatch, *, islands: bool | None = None
) -> tuple[Array, list[Array], int]:
    """Random actions, some beyond their range, each copy with a task of its own.

    Who falls goes on: lying, a body touches more than on its feet.

    Returns:
        Every integration state `(step, copy, number)`, the observations, and the most islands seen.
        `islands` switches them on or off; None leaves them as the family has them.
    """
    low, high = bounds(one.action_fields)
    rng = np.random.default_rng(7)
    simulator: Any = one.simulator(COPIES)
    data, found, most = states(simulator), [], 0
    counted = mujoco.MjData(data[0].model)  # what islands there are, a batch's states do not say
    with monkeypatch.context() as patch:
        for option in {id(each.model): each.model.opt for each in data}.values():
            if islands is not None:
                flags = option.disableflags & ~BIT if islands else option.disableflags | BIT
                patch.setattr(option, "disableflags", flags)
        seen = [simulator.reset(np.arange(COPIES), one.sample_tasks(2, COPIES))]
        for _ in range(steps):
            if hasattr(simulator, "_moving"):
                simulator._moving[:] = True
            seen.append(simulator.step(1.2 * rng.uniform(low, high, (COPIES, len(low))))[0])
            found.append([integration(each) for each in data])
            for state in found[-1]:
                mujoco.mj_setState(counted.model, counted, state, STATE)
                mujoco.mj_forward(counted.model, counted)
                most = max(most, counted.nisland)
    simulator.close()
    return np.array(found), seen, most


def integration(data: mujoco.MjData) -> Array:
    state = np.empty(mujoco.mj_stateSize(data.model, STATE))
    mujoco.mj_getState(data.model, data, state, STATE)
    return state


@pytest.mark.parametrize("name", [name for name in names() if name not in TABLES + WITHOUT_MUJOCO])
def test_one_robot_moves_the_same_to_the_last_bit_without_islands(name, monkeypatch) -> None:
    one = family(name)
    with_them, seen_with, found = episode(one, one.horizon, monkeypatch, islands=True)
    without, seen_without, none = episode(one, one.horizon, monkeypatch)
    assert (found, none) == (1, 0)
    np.testing.assert_array_equal(with_them, without)
    np.testing.assert_array_equal(seen_with, seen_without)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_things_keeps_its_islands_since_it_would_move_otherwise(
    name, monkeypatch
) -> None:
    one = family(name)
    as_it_is, _, found = episode(one, 3, monkeypatch)
    without, _, none = episode(one, 3, monkeypatch, islands=False)
    assert found > 1
    assert none == 0
    assert not np.array_equal(as_it_is, without)


def test_a_model_of_several_trees_is_left_as_it_is() -> None:
    body = "<body><freejoint/><geom size='.1'/></body>"
    for trees, expected in ((1, BIT), (2, 0)):
        model = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody>{trees * body}</worldbody></mujoco>"
        )
        leave_out_islands(model)
        assert model.opt.disableflags == expected
