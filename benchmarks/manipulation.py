"""Environment steps a second of the arms, against robosuite's own loop.

`python -m benchmarks.manipulation [--quick]`. Both sides step robosuite's model at its own physics
step under its own controller; on ours these run compiled and in a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import mujoco
import numpy as np

from benchmarks.alone import main
from benchmarks.bare_physics import BarePhysics, NoCompiler
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.turns import Effort, cores, in_turns
from fieldtune.sim.family import Array, TaskFamily, bounds
from fieldtune.sim.registry import family, names

COPIES = 64
FAMILIES = ("reach", "push", "multi", "pick-place", "drawer-door")
STEPS = 25
ROBOSUITE = "robosuite, one by one"
NEAR = 1e-5  # of any observation after the steps compared; they drift apart by rounding


class Ours:
    """This project's batch, from the same starts every time."""

    def __init__(self, one: TaskFamily, copies: int, threads: int) -> None:
        self._simulator = one.simulator(copies, threads)
        self._tasks = one.sample_tasks(0, copies)

    def run(self, actions: Array) -> float:
        """Seconds that `actions` `(step, copy, action)` took."""
        self.seen = self._simulator.reset(np.arange(len(self._tasks)), self._tasks)
        started = time.perf_counter()
        for action in actions:
            self.seen, _ = self._simulator.step(action)
        return time.perf_counter() - started

    def close(self) -> None:
        self._simulator.close()


class Robosuite:
    """robosuite's environment as the family's single robot steps it: the first copy's start."""

    def __init__(self, one: TaskFamily) -> None:
        self._robot = one.single_robot()
        self._task = one.sample_tasks(0, 1)[0]

    @property
    def environment(self) -> Any:
        return self._robot._environment  # type: ignore[attr-defined]

    def run(self, actions: Array) -> float:
        """Seconds that `actions` `(step, action)` took in robosuite's own `step`."""
        self._robot.reset(0, self._task)
        scaled = np.zeros((len(actions), 4))
        scaled[:, : actions.shape[1]] = actions
        scaled[:, :3] /= 0.05  # robosuite's ±1 for our metres
        started = time.perf_counter()
        for action in scaled:
            self.environment.step(action)
        return time.perf_counter() - started

    def observed(self, actions: Array) -> Array:
        """What the arm sees after the last of `actions` `(step, action)`."""
        self._robot.reset(0, self._task)
        observed = np.empty(0)
        for action in actions:
            observed, _ = self._robot.step(action)
        return observed

    def controls(self, actions: Array) -> Array:
        """What the motors were told at the end of every period, `(step, actuator)`."""
        self._robot.reset(0, self._task)
        found = []
        for action in actions:
            self._robot.step(action)
            found.append(self.environment.sim.data._data.ctrl.copy())
        return np.array(found)

    def bare(self, copies: int) -> BarePhysics:
        """The same model at the same physics step, every copy at the start."""
        self._robot.reset(0, self._task)
        model = self.environment.sim.model._model
        substeps = int(self.environment.control_timestep / self.environment.model_timestep)
        physics = BarePhysics(model, copies, substeps)
        begun = self.environment.sim.data._data
        self._start = (begun.qpos.copy(), begun.qvel.copy())
        return physics

    def put(self, physics: BarePhysics) -> None:
        """Every copy back to the start."""
        for data in physics.data:
            mujoco.mj_resetData(physics.model, data)
            data.qpos[:], data.qvel[:] = self._start
            mujoco.mj_forward(physics.model, data)

    def close(self) -> None:
        self._robot.close()


def drawn_actions(one: TaskFamily, steps: int, copies: int) -> Array:
    """`(step, copy, action)`, uniform."""
    low, high = bounds(one.action_fields)
    return np.random.default_rng(0).uniform(low, high, (steps, copies, len(low)))


def same_as_robosuite(ours: Ours, theirs: Robosuite, actions: Array) -> str:
    """Raises `AssertionError` unless the first copy sees what robosuite's arm does."""
    ours.run(actions)
    apart = float(np.abs(ours.seen[0] - theirs.observed(actions[:, 0])).max())
    if not apart < NEAR:
        raise AssertionError(f"an observation is {apart:g} from robosuite's: expected below {NEAR}")
    return f"after {len(actions)} steps no observation is more than {apart:.1g} from robosuite's"


def measure_family(name: str, effort: Effort, copies: int = COPIES, steps: int = STEPS) -> Table:
    """One family against robosuite and bare physics."""
    one, threads = family(name), cores()
    actions = drawn_actions(one, steps, copies)
    many, single = f"Fieldtune, {threads} threads", "Fieldtune, 1 thread (the default)"
    floor = f"bare mj_step in C, {threads} threads"
    roles: dict[str, Role] = {many: "ours", single: "ours", ROBOSUITE: "theirs", floor: "floor"}
    runs: dict[str, Callable[[], float]] = {}
    skipped = {}
    with ExitStack() as closing:
        for label, count in ((many, threads), (single, 1)):
            batch = Ours(one, copies, count)
            closing.callback(batch.close)
            runs[label] = partial(_rate, batch.run, actions, steps * copies, effort.seconds)
        robosuite = Robosuite(one)
        closing.callback(robosuite.close)
        check = same_as_robosuite(batch, robosuite, actions[: min(steps, 5)])
        runs[ROBOSUITE] = partial(_rate, robosuite.run, actions[:, 0], steps, effort.seconds)
        try:
            physics = robosuite.bare(copies)
        except NoCompiler as error:
            skipped[floor] = str(error)
        else:
            told = robosuite.controls(actions[:, 0])
            controls = np.ascontiguousarray(np.repeat(told[:, None], copies, axis=1))

            def bare(_: Array) -> float:
                robosuite.put(physics)
                started = time.perf_counter()
                physics.run(controls, threads)
                return time.perf_counter() - started

            runs[floor] = partial(_rate, bare, actions, steps * copies, effort.seconds)
        found = in_turns(runs, effort.rounds)
    return Table(
        title=f"Environment steps, {name}",
        unit="steps/s",
        conditions=(
            f"{copies} copies, {steps} control steps of random actions from a reset, which is not "
            f"timed; {threads} threads; robosuite's own physics step; the bare floor has no "
            "controller: it holds the motors at what they were told at the end of each period"
        ),
        series=[Series(label, roles[label], values) for label, values in found.items()],
        goals=[Goal("≥ 10× robosuite", many, ROBOSUITE, at_least=10.0)],
        checks=[check],
        skipped=skipped,
    )


def _rate(run: Callable[[Array], float], actions: Array, count: int, seconds: float) -> float:
    done, elapsed = 0, 0.0
    while elapsed < seconds:
        elapsed += run(actions)
        done += count
    return done / elapsed


def measure(effort: Effort) -> Iterator[Table]:
    """Every family of arms that there is."""
    for name in FAMILIES:
        if name in names():
            yield measure_family(name, effort, effort.choose(COPIES, 2), effort.choose(STEPS, 5))
        else:
            print(f"Environment steps, {name}: skipped, there is no such family")


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])
