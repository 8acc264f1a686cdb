"""The `point-goal` task family: fields, tasks and reward.

The point robot that offline meta-RL is first tried on: Rakelly et al. 2019 (PEARL), and after them
Li et al. 2021 (FOCAL) and Gao et al. 2023 (CSRO), whose released numbers these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    SingleRobot,
    TaskSplit,
)

RADIUS = 1.0  # m, of the arc that goals lie on
STEP = 0.1  # m, the most that one action moves along each axis
REACHED = 0.2  # m from the goal: success, where rewards are sparse
REWARDS = ("dense", "sparse")
FURTHEST = 2.0  # m from the start along an axis: a whole episode one way


@dataclass(frozen=True)
class PointGoalFamily(FamilyDefaults):
    """Go from the origin to a goal on a semicircle, or a circle, that no observation shows.

    `dense`: minus the distance to the goal, after the step. `sparse`: 0 within 0.2 m of it, else
    −1; the released point robots pay 1 − distance / 0.2 m there, and 0 elsewhere.
    """

    rewards: str = "dense"
    circle: bool = False

    name = "point-goal"
    robot = "point"
    horizon = 20
    period_s = 0.1
    scripted: ClassVar[str | None] = "fieldtune.sim.point_goal.script:SCRIPT"
    in_pictures: ClassVar[str] = "The green ring is the goal, which no observation shows."
    observation_fields = (Field("position", "m", (-FURTHEST,) * 2, (FURTHEST,) * 2),)
    action_fields = (Field("displacement", "m", (-STEP,) * 2, (STEP,) * 2),)

    def __post_init__(self) -> None:
        if self.rewards not in REWARDS:
            raise ValueError(
                f"point-goal: option 'rewards' is {self.rewards!r}: expected one of "
                f"{', '.join(REWARDS)}"
            )

    @property
    def task_fields(self) -> tuple[Field, ...]:
        lowest = -RADIUS if self.circle else 0.0
        return (Field("goal_position", "m", (-RADIUS, lowest), (RADIUS, RADIUS)),)

    @property
    def sparse_reward(self) -> bool:
        return self.rewards == "sparse"

    @property
    def reward_bounds(self) -> tuple[float, float]:
        return (-1.0, 0.0) if self.sparse_reward else (-float("inf"), 0.0)

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` goals, `(n, 2)`, uniform on the arc."""
        span = 2 * np.pi if self.circle else np.pi
        angle = np.random.default_rng(seed).uniform(0.0, span, n)
        return RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def split(self) -> TaskSplit:
        """80 training and 20 held-out goals, fixed."""
        return TaskSplit.drawn(self.sample_tasks, train=80, test=20)

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """See `TaskFamily.reward`."""
        del observation, action
        away = np.linalg.norm(next_observation - task, axis=-1)
        return np.where(away <= REACHED, 0.0, -1.0) if self.sparse_reward else -away

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:  # noqa: ARG002
        """`n_envs` points; threads would only wait for each other."""
        from fieldtune.sim.point_goal.simulator import Points

        return Points(n_envs, STEP)

    def single_robot(self) -> SingleRobot:
        """One point, which can be drawn."""
        from fieldtune.sim.point_goal.simulator import DrawnPoint

        return DrawnPoint(STEP, REACHED, FURTHEST)
