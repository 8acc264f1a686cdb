"""The `multi` task family: a button, a drawer, a block and a shelf; scene, tasks and reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import SEED, Array, Field, Truths
from fieldtune.sim.manipulation.family import ManipulationFamily, on_table, turned
from fieldtune.sim.manipulation.fixtures import (
    BUTTON_TRAVEL,
    DRAWER_TRAVEL,
    SHELF_HALF,
    SHELF_HEIGHT,
)
from fieldtune.sim.manipulation.scene import Block, Fixture, Marker, Scene, Start
from fieldtune.sim.manipulation.scripts.script import Script, Seen
from fieldtune.sim.manipulation.scripts.skills import press, pull, put
from fieldtune.sim.manipulation.start import start_joints

JOBS = ("press", "open", "place")
HALF = 0.02  # m, half the block's edge
LANES = (-0.16, 0.0, 0.16)  # m, y of what stands side by side
SPREAD = 0.025  # m, about a lane
BUTTON_X, DRAWER_X, BLOCK_X, SHELF_X = (0.58, 0.64), (0.66, 0.70), (0.44, 0.50), (0.60, 0.66)
BLOCK_TURN = 0.2  # rad, by episode
LAYOUTS = 1_000_000  # series of layouts that a task may have
PRESSED, OPENED = 0.75 * BUTTON_TRAVEL, 0.08  # m that count as pressed and as open
SCENE = Scene(
    home="high",
    blocks=(Block("block", (HALF, HALF, HALF), (0.15, 0.3, 0.85, 1.0)),),
    fixtures=(
        Fixture("button", "button"),
        Fixture("drawer", "drawer"),
        Fixture("shelf", "shelf"),
    ),
    markers=(Marker("goal", 0.012),),
)


@dataclass(frozen=True)
class MultiFamily(ManipulationFamily):
    """Press a button, open a drawer, or put a block on a shelf; only the reward says which.

    A task is the job, 0 to 2, and `layouts`, the seed of where things stand: `(2,)`. Everything
    stands elsewhere in every episode, and no layout of one task is another's: a policy cannot learn
    layouts by heart, and those of a held-out task are new to it.
    """

    @property
    def name(self) -> str:
        return "multi"

    @property
    def scene(self) -> Scene:
        return SCENE

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (
            Field("job", "index", (0.0,), (len(JOBS) - 1.0,)),
            Field("layouts", SEED, (0.0,), (LAYOUTS - 1.0,)),
        )

    @property
    def horizon(self) -> int:
        return 80

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks, `(n, 2)`: jobs in turn, each with layouts of its own."""
        rng = np.random.default_rng(seed)
        layouts = rng.integers(LAYOUTS, size=n)
        return np.stack([np.arange(n) % len(JOBS), layouts], axis=-1).astype(np.float64)

    def start(self, seed: int, task: Array) -> Start:
        """Drawn anew from `seed` and the task's layouts: drawer, button and shelf each in a lane of
        its own, the block before the shelf or, where that is next to it, the button."""
        rng = np.random.default_rng([seed, 1, round(float(task[1]))])
        drawer_lane, button_lane, shelf_lane = rng.permutation(LANES)
        beside = abs(button_lane - shelf_lane) < 1.5 * LANES[2]  # else too long a way for an arm
        block_lane = button_lane if beside and rng.random() < 0.5 else shelf_lane
        button, drawer, (x, y), shelf = (
            np.array([rng.uniform(*within), lane + rng.uniform(-SPREAD, SPREAD)])
            for within, lane in (
                (BUTTON_X, button_lane),
                (DRAWER_X, drawer_lane),
                (BLOCK_X, block_lane),
                (SHELF_X, shelf_lane),
            )
        )
        pose = np.concatenate(
            [on_table(self.arm, x, y, HALF), turned(rng.uniform(-BLOCK_TURN, BLOCK_TURN))]
        )
        stands = np.stack(
            [on_table(self.arm, place[0], place[1], 0.0) for place in (button, drawer, shelf)]
        )
        goal = stands[round(float(task[0]))] + (0.04, 0.0, 0.12)
        return Start(
            joints=start_joints(SCENE.home_joints(self.arm), seed),
            blocks=pose[None],
            fixtures=stands,
            marks=goal[None],
        )

    def success(self, observation: Array, task: Array) -> Truths:
        """Button pressed by 15 mm, drawer open by 80 mm, or block at rest on the shelf."""
        block, top = (
            self.part(observation, "block_position"),
            self.part(observation, "shelf_top"),
        )
        rise = block[..., 2] - self.arm.table_height - SHELF_HEIGHT
        done = np.stack(
            [
                self.part(observation, "button_pressed")[..., 0] >= PRESSED,
                self.part(observation, "drawer_opening")[..., 0] >= OPENED,
                (np.abs(block - top)[..., :2].max(axis=-1) <= SHELF_HALF)
                & (rise > 0.5 * HALF)
                & (rise < 2 * HALF),
            ]
        )
        job = np.asarray(task)[..., 0].round().astype(int)
        return np.asarray(np.choose(job, done))

    def script(self, seen: Seen, task: Array) -> Script:
        """See `ManipulationFamily.script`."""
        table = self.arm.table_height
        job = JOBS[round(float(task[0]))]
        if job == "press":
            return press(seen, "button", table)
        if job == "open":
            return pull(seen, "drawer", "drawer", 0.9 * DRAWER_TRAVEL, table)
        rest = np.array([0.0, 0.0, HALF + 0.005])
        return put(seen, "block", lambda now: now.fields["shelf_top"] + rest, table)

    def other_task(self, task: Array, rng: np.random.Generator) -> Array:
        """Another job in the same layouts."""
        other = task.copy()
        other[0] = (round(float(task[0])) + rng.integers(1, len(JOBS))) % len(JOBS)
        return other
