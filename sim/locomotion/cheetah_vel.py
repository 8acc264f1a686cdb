"""The `cheetah-vel` task family: gymnasium's HalfCheetah that must run at a hidden velocity.

Definition and tasks: Pong et al. 2022 and their released code (ALGORITHM.md). mujoco and gymnasium
are imported only when a simulator or the single robot is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array, BatchSimulator, Field, SingleRobot, TaskSplit

if TYPE_CHECKING:
    import mujoco

SUBSTEPS = 5
PERIOD_S = 0.05
START_NOISE = 0.1
TORSO_HEIGHT = 0.7  # m, of the torso's frame where rootz is 0
FASTEST = 3.0  # m/s
TORSO_X = 17  # in an observation
DEGREES_OF_FREEDOM = 9


@dataclass(frozen=True)
class CheetahVelFamily:
    """Run forward at v*, which no observation shows: r = −|v − v*| − 0.05‖a‖²; never terminal.

    v is the torso's displacement over the control period. The observation's torso position is that
    of the *current* joint positions, so v follows from (s, s') exactly; the reference reads the
    position of one physics step earlier, from which no reward could be computed.
    """

    @property
    def name(self) -> str:
        return "cheetah-vel"

    @property
    def robot(self) -> str:
        return "half-cheetah"

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field.unbounded("root_height", "m"),
            Field.unbounded("root_pitch", "rad"),
            Field.unbounded("joint_position", "rad", 6),
            Field.unbounded("root_velocity", "m/s", 2),
            Field.unbounded("root_pitch_velocity", "rad/s"),
            Field.unbounded("joint_velocity", "rad/s", 6),
            Field.unbounded("torso_position", "m", 3),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("joint_torque", "normalised", (-1.0,) * 6, (1.0,) * 6),)

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (Field("velocity", "m/s", (0.0,), (FASTEST,)),)

    @property
    def signal_fields(self) -> tuple[Field, ...]:
        return ()

    @property
    def dynamics_vary(self) -> bool:
        return False

    @property
    def sparse_reward(self) -> bool:
        return False

    @property
    def horizon(self) -> int:
        return 200

    @property
    def period_s(self) -> float:
        return PERIOD_S

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` velocities in m/s, `(n, 1)`, uniform on [0, 3]."""
        return np.random.default_rng(seed).uniform(0.0, FASTEST, (n, 1))

    def split(self) -> TaskSplit:
        """The reference's own 100 training and 30 held-out velocities."""
        listed = json.loads(
            (files("fieldtune.sim") / "tasks" / "cheetah-vel-tasks.json").read_text()
        )
        values = np.array(listed["values"], dtype=np.float64)[:, None]
        return TaskSplit(train=values[listed["train"]], test=values[listed["eval"]])

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """−|v − v*| − 0.05‖a‖², with v = Δx / 0.05 s and `a` as requested, before any clamp."""
        velocity = (next_observation[..., TORSO_X] - observation[..., TORSO_X]) / PERIOD_S
        return -np.abs(velocity - task[..., 0]) - 0.05 * np.sum(np.square(action), axis=-1)

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """`n_envs` cheetahs; bit-identical to gymnasium's, whatever the batch and the threads."""
        return CheetahBatch(n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One cheetah in gymnasium's own environment."""
        return CheetahRobot()


def observation(qpos: Array, qvel: Array) -> Array:
    """`(..., 20)` from `qpos` `(..., 9)` and `qvel` `(..., 9)`.

    The torso hangs on two slides and then a hinge at its own origin: its position is
    (rootx, 0, 0.7 + rootz), no kinematics needed.
    """
    x, z = qpos[..., :1], qpos[..., 1:2]
    return np.concatenate([qpos[..., 1:], qvel, x, np.zeros_like(x), TORSO_HEIGHT + z], axis=-1)


def start_state(seed: int) -> tuple[Array, Array]:
    """`qpos` `(9,)` and `qvel` `(9,)`: gymnasium's noise, drawn from a generator of this seed."""
    rng = np.random.default_rng(seed)
    qpos = rng.uniform(-START_NOISE, START_NOISE, DEGREES_OF_FREEDOM)
    return qpos, START_NOISE * rng.standard_normal(DEGREES_OF_FREEDOM)


@cache
def model() -> mujoco.MjModel:
    """gymnasium's cheetah. Shared: nothing may write to it."""
    import mujoco

    xml = files("gymnasium") / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    return mujoco.MjModel.from_xml_string(xml.read_text())


class CheetahBatch:
    """A `BatchSimulator` of `n_envs` cheetahs."""

    def __init__(self, n_envs: int, threads: int = 1) -> None:
        from fieldtune.sim.physics.batch import MujocoBatch

        self.n_envs = n_envs
        self._batch = MujocoBatch([model()] * n_envs, SUBSTEPS, threads)

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`. A velocity does not change the dynamics."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} cheetahs: "
                "give one of each a cheetah"
            )
        states = [start_state(int(seed)) for seed in seeds]
        self._batch.set(np.array([qpos for qpos, _ in states]), np.array([v for _, v in states]))
        return observation(*self._batch.state())

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`. MuJoCo clamps `actions` `(env, 6)` to ±1; never terminal."""
        self._batch.step(np.asarray(actions, dtype=np.float64))
        return observation(*self._batch.state()), np.zeros(self.n_envs, dtype=np.bool_)

    def signals(self) -> Array:
        """See `BatchSimulator.signals`. The reward needs none."""
        return np.empty((self.n_envs, 0))

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._batch.close()


class CheetahRobot:
    """A `SingleRobot` over gymnasium's environment."""

    def __init__(self) -> None:
        from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

        from fieldtune.sim.physics.rendering import Renderer, View

        self._environment = HalfCheetahEnv(frame_skip=SUBSTEPS)
        self._data = self._environment.data
        view = View((0.0, 0.0, 0.0), distance=4.0, azimuth=90.0, elevation=-15.0, track="torso")
        self._renderer = Renderer(self._environment.model, self._data, view)

    def reset(self, seed: int, task: Array) -> Array:  # noqa: ARG002
        """See `SingleRobot.reset`."""
        self._environment.reset(seed=seed)
        self._environment.set_state(*start_state(seed))
        return observation(self._data.qpos, self._data.qvel)

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`. `action` `(6,)`; never terminal."""
        if np.shape(action) != (6,) or not np.isfinite(action).all():
            raise ValueError(f"step: action is {action}, expected 6 finite numbers")
        self._environment.step(np.asarray(action, dtype=np.float64))
        return observation(self._data.qpos, self._data.qvel), False

    def signals(self) -> Array:
        """See `SingleRobot.signals`. The reward needs none."""
        return np.empty(0)

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`. The camera follows the torso."""
        return self._renderer.picture(width, height)

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._renderer.close()
        self._environment.close()
