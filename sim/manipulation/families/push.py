"""The `push` task family: scene, tasks, start states and reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array, Field, Truths
from fieldtune.sim.manipulation.family import TABLE_CENTRE, ManipulationFamily, on_table, turned
from fieldtune.sim.manipulation.scene import Block, Marker, Scene, Start
from fieldtune.sim.manipulation.scripts.push import push
from fieldtune.sim.manipulation.scripts.script import Script, Seen
from fieldtune.sim.manipulation.start import start_joints

HALF = 0.025  # m, half the block's edge
NEAREST, FURTHEST = 0.12, 0.18  # m, a goal from the table's centre
START_SPREAD = 0.03  # m, as robosuite's Lift
CLOSE_ENOUGH = 0.05  # m
SCENE = Scene(
    home="low",
    blocks=(Block("block", (HALF, HALF, HALF), (0.85, 0.2, 0.15, 1.0)),),
    markers=(Marker("goal", 0.015),),
)


@dataclass(frozen=True)
class PushFamily(ManipulationFamily):
    """Push a block to a goal on a ring round the table's centre; no observation shows it.

    A goal is `(x, y)` in metres in the arm's base frame. The block starts near the centre.
    """

    @property
    def name(self) -> str:
        return "push"

    @property
    def scene(self) -> Scene:
        return SCENE

    @property
    def task_fields(self) -> tuple[Field, ...]:
        x, y = TABLE_CENTRE
        low, high = (x - FURTHEST, y - FURTHEST), (x + FURTHEST, y + FURTHEST)
        return (Field("goal_position", "m", low, high),)

    @property
    def horizon(self) -> int:
        return 60

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` goals, `(n, 2)`: directions and distances uniform."""
        rng = np.random.default_rng(seed)
        angle = rng.uniform(-np.pi, np.pi, n)
        distance = rng.uniform(NEAREST, FURTHEST, n)
        return np.array(TABLE_CENTRE) + distance[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], axis=-1
        )

    def start(self, seed: int, task: Array) -> Start:
        """The block at rest near the table's centre, turned by up to 45 degrees."""
        rng = np.random.default_rng([seed, 1])
        x, y = np.array(TABLE_CENTRE) + rng.uniform(-START_SPREAD, START_SPREAD, 2)
        angle = rng.uniform(-np.pi / 4, np.pi / 4)
        block = np.concatenate([on_table(self.arm, x, y, HALF), turned(angle)])
        return Start(
            joints=start_joints(SCENE.home_joints(self.arm), seed),
            blocks=block[None],
            marks=on_table(self.arm, task[0], task[1], 0.0)[None],
        )

    def success(self, observation: Array, task: Array) -> Truths:
        """Whether the block's centre is within 0.05 m of the goal, seen from above."""
        place = self.part(observation, "block_position")[..., :2]
        return np.linalg.norm(place - task, axis=-1) <= CLOSE_ENOUGH

    def script(self, seen: Seen, task: Array) -> Script:
        """See `ManipulationFamily.script`."""
        return push(seen, task, self.arm.table_height)

    def other_task(self, task: Array, rng: np.random.Generator) -> Array:
        """Any goal: none shows."""
        del task
        return self.sample_tasks(int(rng.integers(2**31)), 1)[0]
