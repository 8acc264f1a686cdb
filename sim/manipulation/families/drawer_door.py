"""The `drawer-door` task family: a drawer beside a door; scene, tasks and reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import Array, Field, Truths
from fieldtune.sim.manipulation.family import ManipulationFamily, on_table
from fieldtune.sim.manipulation.fixtures import KINDS
from fieldtune.sim.manipulation.scene import Fixture, Marker, Scene, Start
from fieldtune.sim.manipulation.scripts.script import Script, Seen
from fieldtune.sim.manipulation.scripts.skills import pull
from fieldtune.sim.manipulation.start import start_joints

THINGS = ("drawer", "door")
PLACES = ((0.68, 0.15), (0.68, -0.13))  # m, x and y of each
SPREAD = 0.02  # m, by episode
LEAST, MOST = 0.4, 0.9  # of its travel
TOLERANCE = 0.125  # of its travel: 15 mm and 0.125 rad
SCENE = Scene(
    home="high",
    fixtures=tuple(Fixture(name, name) for name in THINGS),
    markers=(Marker("goal", 0.012),),
)


@dataclass(frozen=True)
class DrawerDoorFamily(ManipulationFamily):
    """Open a drawer or a door, just so far; no observation shows which, nor how far.

    A task is what to open, 0 (drawer) or 1 (door), and the share of its travel that it should be
    open by. Both stand a little elsewhere in each episode, which is seen.
    """

    @property
    def name(self) -> str:
        return "drawer-door"

    @property
    def scene(self) -> Scene:
        return SCENE

    @property
    def task_fields(self) -> tuple[Field, ...]:
        return (
            Field("thing", "index", (0.0,), (1.0,)),
            Field("goal_opening", "share of travel", (LEAST,), (MOST,)),
        )

    @property
    def horizon(self) -> int:
        return 60

    def sample_tasks(self, seed: int, n: int) -> Array:
        """Draw `n` tasks, `(n, 2)`: things in turn, openings uniform."""
        rng = np.random.default_rng(seed)
        return np.stack([np.arange(n) % 2, rng.uniform(LEAST, MOST, n)], axis=-1).astype(np.float64)

    def start(self, seed: int, task: Array) -> Start:
        """Both closed."""
        rng = np.random.default_rng([seed, 1])
        places = np.array(PLACES) + rng.uniform(-SPREAD, SPREAD, (2, 2))
        stands = on_table(self.arm, places[:, 0], places[:, 1], 0.0)
        goal = stands[round(float(task[0]))] + (0.06, 0.0, 0.10)
        return Start(
            joints=start_joints(SCENE.home_joints(self.arm), seed),
            fixtures=stands,
            marks=goal[None],
        )

    def success(self, observation: Array, task: Array) -> Truths:
        """Whether the thing is as far open as it should be, within 0.125 of its travel."""
        which, goal = np.asarray(task)[..., 0].round().astype(int), np.asarray(task)[..., 1]
        right = [
            np.abs(self.part(observation, f"{name}_opening")[..., 0] / KINDS[name].travel - goal)
            <= TOLERANCE
            for name in THINGS
        ]
        return np.asarray(np.choose(which, right))

    def script(self, seen: Seen, task: Array) -> Script:
        """See `ManipulationFamily.script`."""
        thing = THINGS[round(float(task[0]))]
        opening = float(task[1]) * KINDS[thing].travel
        return pull(seen, thing, thing, opening, self.arm.table_height)

    def other_task(self, task: Array, rng: np.random.Generator) -> Array:
        """Anything, however far."""
        del task
        return np.array([rng.integers(2), rng.uniform(LEAST, MOST)])
