"""What a variation's numbers do to an arm, one by one, and that they belong to the episode."""

import numpy as np
import pytest

from fieldtune.sim.manipulation.families.push import PushFamily
from fieldtune.sim.manipulation.scene import reported_fields
from fieldtune.sim.manipulation.simulators.varied_batch import VariedBatch
from fieldtune.sim.manipulation.variation import Delay, Variation, draw

SEEDS = np.arange(3)
PUSH_AT_BLOCK = np.array([0.05, 0.0, -0.05, 1.0])


def observed(
    variation: Variation, seeds=SEEDS, steps: int = 12, action: np.ndarray = PUSH_AT_BLOCK
) -> np.ndarray:
    """Observations `(step, env, observation)` under one action; an arm goes down onto its block."""
    one = PushFamily(variation=variation)
    simulator = one.simulator(len(seeds))
    try:
        seen = [simulator.reset(np.asarray(seeds), one.sample_tasks(0, len(seeds)))]
        for _ in range(steps):
            seen.append(simulator.step(np.tile(action, (len(seeds), 1)))[0])
    finally:
        simulator.close()
    return np.stack(seen)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return observed(Variation())


@pytest.mark.parametrize(
    "variation",
    [
        Variation(mass=(3.0, 3.0)),
        Variation(friction=(0.3, 0.3)),
        Variation(actuator_gain=(0.9, 0.9)),
        Variation(observation_noise=(("m", 0.01),)),
        Variation(latency=(2, 2)),
    ],
    ids=lambda variation: repr(variation),
)
def test_each_key_has_its_effect(plain: np.ndarray, variation: Variation) -> None:
    found = observed(variation)
    assert np.abs(found - plain).max() > 1e-4
    assert np.isfinite(found).all()


def test_a_batch_that_varies_by_nothing_is_the_one_that_does_not_vary(plain: np.ndarray) -> None:
    one = PushFamily()
    simulator = VariedBatch(one.arm, one.scene, one.start, one.variation, 3)
    seen = [simulator.reset(SEEDS, one.sample_tasks(0, 3))]
    seen += [simulator.step(np.tile(PUSH_AT_BLOCK, (3, 1)))[0] for _ in range(12)]
    simulator.close()
    np.testing.assert_allclose(np.stack(seen), plain, atol=1e-9)


def test_weak_motors_let_the_arm_sag() -> None:
    heights = [
        PushFamily().part(observed(variation, action=np.zeros(4))[-1], "end_effector_position")[
            :, 2
        ]
        for variation in (Variation(actuator_gain=(0.9, 0.9)), Variation())
    ]
    assert (heights[0] < heights[1]).all()


def test_latency_is_the_same_motion_later(plain: np.ndarray) -> None:
    prompt, late = (
        PushFamily().part(seen, "end_effector_position")
        for seen in (plain, observed(Variation(latency=(2, 2))))
    )
    assert np.abs(late[:3] - late[0]).max() < 1e-3
    assert np.abs(late[2:5] - prompt[:3]).max() < 1e-3
    assert np.abs(late[3] - prompt[3]).max() > 0.02


def test_noise_is_in_the_components_of_its_unit_and_has_its_size() -> None:
    family = PushFamily()
    measured = reported_fields(family.arm, family.scene)
    noisy = Variation(observation_noise=(("m", 0.01),))
    units = np.concatenate([[field.unit] * field.width for field in measured])
    seen = observed(noisy, seeds=np.arange(40), steps=0)
    off = (seen - observed(Variation(), seeds=np.arange(40), steps=0))[..., : len(units)]
    np.testing.assert_array_equal(off[..., units != "m"], 0.0)
    assert off[..., units == "m"].std() == pytest.approx(0.01, rel=0.15)
    hand, block, gap = (
        family.part(seen, name)
        for name in ("end_effector_position", "block_position", "gripper_to_block")
    )
    np.testing.assert_array_equal(gap, block - hand)  # noisy as what it follows from


def test_an_episodes_draws_follow_from_its_seed_and_not_from_its_batch() -> None:
    every = Variation((0.5, 2.0), (0.5, 2.0), (0.9, 1.1), (("m", 0.01), ("rad", 0.01)), (0, 3))
    together = observed(every, seeds=[5, 6], steps=6)
    alone = observed(every, seeds=[5], steps=6)
    np.testing.assert_array_equal(together[:, 0], alone[:, 0])
    assert not np.array_equal(together[:, 0], together[:, 1])
    again = observed(every, seeds=[5, 6], steps=6)
    np.testing.assert_array_equal(together, again)


def test_draws_are_within_their_bounds_and_reach_both_ends() -> None:
    some = Variation(mass=(0.5, 2.0), latency=(1, 3))
    drawn = [draw(some, seed) for seed in range(300)]
    masses = [each.mass for each in drawn]
    assert 0.5 <= min(masses) < 0.55
    assert 1.95 < max(masses) <= 2.0
    assert {each.latency for each in drawn} == {1, 2, 3}
    assert {each.friction for each in drawn} == {1.0}


def test_actions_arrive_late_in_order_and_zeros_before() -> None:
    delay = Delay(np.array([0, 1, 3]), 1)
    arrived = [delay.through(np.full((3, 1), step))[:, 0] for step in range(1, 6)]
    np.testing.assert_array_equal(
        np.stack(arrived, axis=1), [[1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mass": (2.0, 1.0)}, r"mass is \[2.0, 1.0\]: expected \[smallest, largest\]"),
        ({"friction": (0.0, 1.0)}, r"friction .* above 0"),
        ({"actuator_gain": (1.0, float("nan"))}, "actuator_gain"),
        ({"latency": (-1, 2)}, "latency .* none below 0"),
        ({"observation_noise": (("m", -1.0),)}, "observation_noise of 'm' is -1.0"),
        ({"observation_noise": (("cm", 1.0),)}, "unit 'cm': expected of m, m/s, quaternion, rad"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PushFamily(variation=Variation(**values))
