"""The task family: a rover that must drive at a hidden velocity over the floor.

What is seen and done, the tasks, their reward, and who makes the data. fieldtune's docs/families.md
explains every name here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldtune.sim.mjcf import Computed, Field, MjcfFamily, velocities
from fieldtune.sim.noisy_script import NoisyScript

from rover_velocity.wheels import FASTEST, wheels_for

HEADING, VELOCITY = slice(0, 2), slice(2, 4)  # in the observation


def heading(read):
    """Where the base points, as (cos, sin) of its angle: an angle itself would jump at half a
    turn."""
    w, x, y, z = np.moveaxis(read("qpos")[:, 3:7], -1, 0)
    ahead = np.stack([1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)], axis=-1)
    return ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)


def velocity(read):
    """Of the base over the floor, along the world's axes."""
    return read("qvel")[:, :2]


def turning(read):
    return read("qvel")[:, 5:6]


@dataclass(frozen=True)
class RoverVelocity(MjcfFamily):
    """Its place is not observed: every floor is alike."""

    name = "rover-velocity"
    robot = "rover"
    mjcf = Path(__file__).with_name("rover.xml")
    substeps = 10  # of 5 ms: 20 Hz
    horizon = 60
    observed = (
        Computed(Field("heading", "1", (-1.0, -1.0), (1.0, 1.0)), heading),
        Computed(Field("velocity", "m/s", (-1.5, -1.5), (1.5, 1.5)), velocity),
        Computed(Field("turning", "rad/s", (-10.0,), (10.0,)), turning),
        velocities("wheel_speed", "rad/s", "left", "right", low=-20.0, high=20.0),
    )
    action_fields = (Field("wheel_speed_command", "rad/s", (-FASTEST,) * 2, (FASTEST,) * 2),)
    task_fields = (Field("wanted_velocity", "m/s", (-0.4, -0.4), (0.4, 0.4)),)
    tasks = (40, 10)  # trained on, and held out
    reward_bounds = (-4.0, 0.0)
    scripted = "rover_velocity.family:SCRIPT"

    def start(self, seed, task):
        """At rest, pointing anywhere: a rover is not carried back to where it began."""
        qpos, qvel = super().start(seed, task)
        half = np.random.default_rng(seed).uniform(-np.pi, np.pi) / 2.0
        qpos[3:7] = np.cos(half), 0.0, 0.0, np.sin(half)
        return qpos, qvel

    def reward(self, observation, action, next_observation, task, signals=None):
        """How far off the velocity is, in m/s, negative."""
        return -np.linalg.norm(next_observation[..., VELOCITY] - task, axis=-1)


def towards(observation, task):
    """Wheel speeds, `(env, 2)`, that turn the nearer end to where it goes, and go."""
    ahead = observation[:, HEADING]
    along = (ahead * task).sum(axis=-1)
    across = ahead[:, 0] * task[:, 1] - ahead[:, 1] * task[:, 0]
    backwards = np.where(along < 0.0, -1.0, 1.0)
    return wheels_for(along, 4.0 * np.arctan2(backwards * across, np.abs(along)))


# Some episodes do their task, some another one's, some wander: data must cover more than success.
SCRIPT = NoisyScript(towards)
