"""walker-params and hopper-params are gymnasium's robots, each copy with the body of its task."""

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from fieldtune.sim.locomotion.hopper_params import HopperParamsFamily
from fieldtune.sim.locomotion.simulators import model
from fieldtune.sim.locomotion.varying_body import DynamicsFamily
from fieldtune.sim.locomotion.walker_params import WalkerParamsFamily

FAMILIES = {
    "walker": (WalkerParamsFamily(), lambda: Walker2dEnv(xml_file="walker2d.xml")),
    "hopper": (HopperParamsFamily(), HopperEnv),
}
each = pytest.mark.parametrize(("family", "make"), FAMILIES.values(), ids=FAMILIES)


def reshape_by_hand(family: DynamicsFamily, changed: mujoco.MjModel, task: np.ndarray) -> None:
    """The definition, apart from the family's own code: `task` is mass, inertia, damping, friction
    in the model's order, without the world's body and the root's joints."""
    bodies, joints = changed.nbody - 1, changed.nv - 3
    mass, inertia, damping, friction = np.split(task, np.cumsum([bodies, 3 * bodies, joints]))
    before = model(family.body.asset)
    changed.body_mass[1:] = before.body_mass[1:] * 1.5**mass
    changed.body_inertia[1:] = before.body_inertia[1:] * 1.5 ** inertia.reshape(-1, 3)
    changed.dof_damping[3:] = before.dof_damping[3:] * 1.3**damping
    changed.geom_friction[:] = before.geom_friction * 1.5 ** friction.reshape(-1, 3)


@each
def test_random_steps_match_gymnasium_stepped_one_by_one(family, make, random_episodes) -> None:
    """Twelve bodies: observations, gymnasium's own reward, and the step at which one falls."""
    runs = []
    for strength in (0.3, 1.2):
        runs += zip(*random_episodes(family, 6, strength), strict=True)
    environment = make()
    for episode, task, seed in runs:
        reshape_by_hand(family, environment.model, task)
        mujoco.mj_resetData(environment.model, environment.data)
        environment.set_state(*family.body.start(int(seed), task))
        np.testing.assert_array_equal(episode.observations[0], environment._get_obs())
        for step, action in enumerate(episode.actions):
            seen, _, terminated, _, info = environment.step(action)
            np.testing.assert_allclose(episode.observations[step + 1], seen, rtol=0, atol=1e-6)
            expected = info["x_velocity"] + info["reward_ctrl"] + 1.0
            np.testing.assert_allclose(episode.rewards[step], expected, rtol=0, atol=1e-6)
            assert terminated == (episode.terminated and step == episode.steps - 1)
    environment.close()
    assert sum(episode.steps for episode, _, _ in runs) > 300
    assert any(episode.terminated for episode, _, _ in runs)


@each
def test_every_copy_has_a_body_of_its_own(family, make) -> None:  # noqa: ARG001
    tasks = family.sample_tasks(0, 3)
    simulator = family.simulator(3)
    starts = simulator.reset(np.full(3, 7), tasks)
    np.testing.assert_array_equal(starts[0], starts[1])
    seen, _ = simulator.step(np.full((3, family.body.actions), 0.5))
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    assert np.abs(seen[1] - seen[2]).max() > 1e-3
    simulator.close()


@each
def test_a_second_task_leaves_nothing_of_the_first(family, make) -> None:  # noqa: ARG001
    first, second = family.sample_tasks(0, 2)[:, None]
    action = np.full((1, family.body.actions), 0.3)

    def after(*tasks: np.ndarray) -> np.ndarray:
        simulator = family.simulator(1)
        for task in tasks:
            simulator.reset(np.array([3]), task)
            seen = simulator.step(action)[0]
        simulator.close()
        return seen

    np.testing.assert_array_equal(after(second), after(first, second))


@each
def test_a_task_changes_no_model_that_others_use(family, make) -> None:  # noqa: ARG001
    before = model(family.body.asset).body_mass.copy()
    simulator = family.simulator(2)
    simulator.reset(np.arange(2), family.sample_tasks(1, 2))
    simulator.close()
    np.testing.assert_array_equal(model(family.body.asset).body_mass, before)


@each
def test_a_task_has_a_number_for_all_that_is_scaled(family, make) -> None:  # noqa: ARG001
    original = model(family.body.asset)
    for part in family.body.scaled:
        values = getattr(original, part.array)
        assert not values[: part.first].any()
        assert values[part.first :].size == part.rows * part.columns
        assert (values[part.first :] > 0).all()


@each
def test_split_is_40_and_10_bodies(family, make) -> None:  # noqa: ARG001
    split = family.split()
    assert (len(split.train), len(split.test)) == (40, 10)
    tasks = np.concatenate([split.train, split.test])
    assert np.abs(tasks).max() <= 3
    assert (tasks.std(axis=0) > 1).all()


@each
def test_the_context_must_hold_what_an_action_led_to(family, make) -> None:  # noqa: ARG001
    assert family.dynamics_vary
