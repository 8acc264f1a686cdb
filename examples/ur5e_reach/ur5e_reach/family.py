"""The task family: a UR5e that must hold its tool over a hidden place on the table.

What is seen and done, the tasks, their reward, and who makes the data. fieldtune's docs/families.md
explains every name here.
"""

from dataclasses import dataclass

import numpy as np
from fieldtune.sim.mjcf import Field, MjcfFamily, positions, sites, velocities
from fieldtune.sim.noisy_script import NoisyScript

from ur5e_reach import model
from ur5e_reach.kinematics import HOME, JOINTS, tip_and_jacobian

TIP = slice(12, 15)  # in the observation
HEIGHT = 0.15  # m above the table: where the tool is wanted
DAMPING = 0.05  # m: keeps the script's joints slow where the arm is nearly stretched


@dataclass(frozen=True)
class Ur5eReach(MjcfFamily):
    """The dataclass's fields are the family's options: `robot.family_options` in a config."""

    start_noise: float = 0.05  # rad, rad/s: how far from home an episode starts

    name = "ur5e-reach"
    robot = "ur5e"
    substeps = 10  # of 5 ms: 20 Hz
    horizon = 50
    keyframe = "home"
    observed = (
        positions("joint_position", "rad", *JOINTS, low=-6.3, high=6.3),
        velocities("joint_velocity", "rad/s", *JOINTS, low=-3.2, high=3.2),
        sites("tip_position", "tip", low=-1.2, high=1.2),
    )
    action_fields = (Field("joint_velocity_command", "rad/s", (-1.0,) * 6, (1.0,) * 6),)
    task_fields = (Field("target", "m", (0.35, -0.25), (0.6, 0.25)),)  # x and y on the table
    tasks = (40, 10)  # trained on, and held out
    reward_bounds = (-2.5, 0.0)
    scripted = "ur5e_reach.family:SCRIPT"

    @property
    def mjcf(self):
        return model.mjcf()

    def reward(self, observation, action, next_observation, task, signals=None):
        """The tip's distance from the place over the target, in m, negative."""
        return -np.linalg.norm(next_observation[..., TIP] - over(task), axis=-1)


def over(task):
    """Where the tool is wanted, `(..., 3)`, for targets on the table, `(..., 2)`."""
    return np.concatenate([task, np.full((*task.shape[:-1], 1), HEIGHT)], axis=-1)


def towards(observation, task):
    """Joint velocities, `(env, 6)`, that lead the tip to the target and the rest back home."""
    joints, gap = observation[:, :6], over(task) - observation[:, TIP]
    _, jacobian = tip_and_jacobian(joints)
    across = np.swapaxes(jacobian, -1, -2)
    square = jacobian @ across + DAMPING**2 * np.eye(3)

    def moving_the_tip_by(velocity):
        return (across @ np.linalg.solve(square, velocity[..., None]))[..., 0]

    back = HOME - joints
    unseen = back - moving_the_tip_by((jacobian @ back[..., None])[..., 0])
    return moving_the_tip_by(4.0 * gap) + 0.5 * unseen


# Some episodes do their task, some another one's, some wander: data must cover more than success.
SCRIPT = NoisyScript(towards)
