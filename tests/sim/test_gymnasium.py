"""Families on Gymnasium environments: dicts, terminal states, signals and dynamics that vary."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from fieldtune.sim.checks.check_family import check_family
from fieldtune.sim.family import require_signals
from fieldtune.sim.gymnasium import BadEnvironment, Field, GymnasiumFamily


class Cart(gymnasium.Env):
    """Shows a dict, ends, measures, and takes a mass."""

    observation_space = gymnasium.spaces.Dict(
        {
            "speed": gymnasium.spaces.Box(-9.0, 9.0, (1,)),
            "place": gymnasium.spaces.Box(-9.0, 9.0, (1,)),
        }
    )
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"
    mass = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.state = np.array([self.np_random.uniform(-0.1, 0.1), 0.0])
        return self._seen(), {}

    def step(self, action):
        self.state[1] += 0.5 * float(action[0]) / self.mass
        self.state[0] += 0.1 * self.state[1]
        over = bool(abs(self.state[0]) > 0.15)
        return self._seen(), 0.0, over, False, {"work": abs(float(action[0]))}

    def render(self):
        return np.eye(32, dtype=np.uint8)[..., None].repeat(3, axis=-1) * 255

    def _seen(self):
        return {"place": np.float32(self.state[:1]), "speed": np.float32(self.state[1:])}


@dataclass(frozen=True)
class CartFamily(GymnasiumFamily):
    """Everything that a Gymnasium family may say."""

    name = "cart"
    robot = "cart"
    period_s = 0.1
    horizon = 12
    observation_fields = (Field.unbounded("place", "m"), Field.unbounded("speed", "m/s"))
    action_fields = (Field("push", "N", (-1.0,), (1.0,)),)
    task_fields = (Field("mass", "kg", (0.5,), (3.0,)),)
    signal_fields = (Field("work", "J", (0.0,), (1.0,)),)
    dynamics_vary = True

    def environment(self):
        return Cart()

    def place(self, environment, task):
        environment.unwrapped.mass = float(task[0])

    def measure(self, infos):
        return infos["work"][:, None]

    def reward(self, _, __, next_observation, task, signals=None):
        work = require_signals(self.name, self.signal_fields, signals)[..., 0]
        return next_observation[..., 0] - work + np.zeros(task.shape[:-1])


def test_an_environment_of_dicts_that_ends_measures_and_varies_keeps_the_promises():
    found = {one.name: one for one in check_family(CartFamily())}
    assert {one.state for one in found.values()} == {"ok"}, found
    assert "copies terminated, and kept" in found["termination"].text
    assert found["pictures"].text == "the single robot draws itself"


def test_a_vector_environment_that_resets_in_the_same_step_is_refused():
    class Same(CartFamily):
        def vector_environment(self, n_envs):
            return SyncVectorEnv([Cart] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    with pytest.raises(BadEnvironment, match=r"cart: autoreset_mode is .*SAME_STEP.*NEXT_STEP"):
        Same().simulator(2)
