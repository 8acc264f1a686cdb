"""The `reach` task family: fields, tasks and reward.

It describes the arm without loading it: mujoco and robosuite are imported only when a simulator or
the single robot is asked for.
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
from fieldtune.sim.manipulation.arms import Arm, arm

INNER_RADIUS = 0.15  # m from the home position
OUTER_RADIUS = 0.25
TABLE_CLEARANCE = 0.06  # m above the table
REACHED = 0.05  # m from the target: success, if the episode ends there


@dataclass(frozen=True)
class ReachFamily(FamilyDefaults):
    """Targets on a thick shell round the arm's home position, above the table.

    A target is `(x, y, z)` in metres in the arm's base frame. No observation shows it; the reward
    is minus the distance that remains.
    """

    robot: str = "sawyer"

    scripted: ClassVar[str | None] = "fieldtune.sim.manipulation.reach.scripted"
    in_pictures: ClassVar[str] = "The green sphere is the target, which no observation shows."

    def __post_init__(self) -> None:
        arm("reach", self.robot)

    @property
    def name(self) -> str:
        return "reach"

    @property
    def arm(self) -> Arm:
        return arm("reach", self.robot)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        joints, reach = self.arm.joints, self.arm.reach
        unbounded = (float("inf"),)
        return (
            Field("joint_position", "rad", self.arm.joint_low, self.arm.joint_high),
            Field("joint_velocity", "rad/s", (-unbounded[0],) * joints, unbounded * joints),
            Field("end_effector_position", "m", (-reach,) * 3, (reach,) * 3),
            Field("end_effector_velocity", "m/s", (-unbounded[0],) * 3, unbounded * 3),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("end_effector_displacement", "m", (-0.05,) * 3, (0.05,) * 3),)

    @property
    def task_fields(self) -> tuple[Field, ...]:
        home = np.array(self.arm.home_position)
        low, high = home - OUTER_RADIUS, home + OUTER_RADIUS
        low[2] = max(low[2], self.arm.table_height + TABLE_CLEARANCE)
        return (Field("target_position", "m", tuple(low.tolist()), tuple(high.tolist())),)

    @property
    def horizon(self) -> int:
        return 50

    @property
    def period_s(self) -> float:
        return 0.05

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` targets, `(n, 3)`: directions uniform on the part of the sphere above the table,
        distances uniform between the radii."""
        rng = np.random.default_rng(seed)
        home = np.array(self.arm.home_position)
        lowest = self.arm.table_height + TABLE_CLEARANCE
        targets: list[Array] = []
        while len(targets) < n:
            direction = rng.standard_normal(3)
            direction /= np.linalg.norm(direction)
            target = home + rng.uniform(INNER_RADIUS, OUTER_RADIUS) * direction
            if target[2] >= lowest:
                targets.append(target)
        return np.array(targets).reshape(n, 3)

    def split(self) -> TaskSplit:
        """100 training and 10 held-out targets, fixed."""
        return TaskSplit.drawn(self.sample_tasks, train=100, test=10)

    @property
    def reward_bounds(self) -> tuple[float, float]:
        return (-float("inf"), 0.0)

    @property
    def success_reward(self) -> float:
        return -REACHED

    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,  # noqa: ARG002
    ) -> Array:
        """See `TaskFamily.reward`.

        Minus the distance, in metres, from the end effector to the target after the step.
        """
        del observation, action
        return -np.linalg.norm(self.end_effector(next_observation) - task, axis=-1)

    def end_effector(self, observation: Array) -> Array:
        """The end effector's position `(..., 3)` in an observation `(..., observation)`."""
        start = 2 * self.arm.joints
        return observation[..., start : start + 3]

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:
        """`n_envs` arms in compiled code. The first call in a process loads robosuite (seconds)."""
        from fieldtune.sim.manipulation.reach.batch import ReachBatch

        return ReachBatch(self.arm, n_envs, threads)

    def single_robot(self) -> SingleRobot:
        """One arm in robosuite's own environment, stepped by its own `step`."""
        from fieldtune.sim.manipulation.reach.robot import ReachRobot

        return ReachRobot(self.arm)
