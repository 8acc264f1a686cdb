"""The `pick-place` task family: two blocks and a ledge; scene, tasks and reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array, Field, Truths
from fieldtune.sim.manipulation.family import ManipulationFamily, on_table, turned
from fieldtune.sim.manipulation.fixtures import SHELF_HEIGHT
from fieldtune.sim.manipulation.scene import Block, Fixture, Marker, Scene, Start
from fieldtune.sim.manipulation.scripts.script import Script, Seen
from fieldtune.sim.manipulation.scripts.skills import put
from fieldtune.sim.manipulation.start import start_joints

BLOCKS = ("red_block", "blue_block")
HALF = 0.02  # m, half a block's edge
LEDGE_X = 0.70  # m, the middle of the ledge, which runs along y
FURTHEST = 0.15  # m, a goal from the ledge's middle
BLOCK_X, SIDE, SPREAD, TURN = 0.50, 0.08, 0.02, 0.2  # m, m, m, rad: where blocks start
CLOSE_ENOUGH = 0.05  # m
SCENE = Scene(
    home="high",
    blocks=(
        Block(BLOCKS[0], (HALF, HALF, HALF), (0.85, 0.2, 0.15, 1.0)),
        Block(BLOCKS[1], (HALF, HALF, HALF), (0.15, 0.3, 0.85, 1.0)),
    ),
    fixtures=(Fixture("ledge", "ledge"),),
    markers=(Marker("goal", 0.015),),
)


@dataclass(frozen=True)
class PickPlaceFamily(ManipulationFamily):
    """Put one of two blocks at a place on a ledge; no observation shows which, nor where.

    A task is the block, 0 (red) or 1 (blue), and y of its place in metres in the arm's base frame.
    Which block starts on which side is drawn by episode.
    """

    @property
    def name(self) -> str:
        return "pick-place"

    @property
    def scene(self) -> Scene:
        return SCENE

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (
            Field("block", "index", (0.0,), (1.0,)),
            Field("goal_y", "m", (-FURTHEST,), (FURTHEST,)),
        )

    @property
    def horizon(self) -> int:
        return 80

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks, `(n, 2)`: blocks in turn, places uniform."""
        rng = np.random.default_rng(seed)
        return np.stack([np.arange(n) % 2, rng.uniform(-FURTHEST, FURTHEST, n)], axis=-1).astype(
            np.float64
        )

    def start(self, seed: int, task: Array) -> Start:
        """The blocks side by side before the ledge, red on the left or on the right."""
        rng = np.random.default_rng([seed, 1])
        side = SIDE * rng.choice((-1.0, 1.0))
        poses = []
        for y in (side, -side):
            place = np.array([BLOCK_X, y]) + rng.uniform(-SPREAD, SPREAD, 2)
            angle = rng.uniform(-TURN, TURN)
            poses.append(
                np.concatenate([on_table(self.arm, place[0], place[1], HALF), turned(angle)])
            )
        return Start(
            joints=start_joints(SCENE.home_joints(self.arm), seed),
            blocks=np.stack(poses),
            fixtures=on_table(self.arm, LEDGE_X, 0.0, 0.0)[None],
            marks=on_table(self.arm, LEDGE_X, task[1], SHELF_HEIGHT)[None],
        )

    def success(self, observation: Array, task: Array) -> Truths:
        """Whether the block's centre is within 0.05 m of its place, at rest on the ledge."""
        which, goal = np.asarray(task)[..., 0].round().astype(int), np.asarray(task)[..., 1]
        there = []
        for name in BLOCKS:
            place = self.part(observation, f"{name}_position")
            rise = place[..., 2] - self.arm.table_height - SHELF_HEIGHT
            away = np.hypot(place[..., 0] - LEDGE_X, place[..., 1] - goal)
            there.append((rise > 0.5 * HALF) & (rise < 2 * HALF) & (away <= CLOSE_ENOUGH))
        return np.asarray(np.choose(which, there))

    def script(self, seen: Seen, task: Array) -> Script:
        """See `ManipulationFamily.script`."""
        target = on_table(self.arm, LEDGE_X, task[1], SHELF_HEIGHT + HALF + 0.005)
        return put(seen, BLOCKS[round(float(task[0]))], lambda _: target, self.arm.table_height)

    def other_task(self, task: Array, rng: np.random.Generator) -> Array:
        """Any block, anywhere."""
        del task
        return np.array([rng.integers(2), rng.uniform(-FURTHEST, FURTHEST)])
