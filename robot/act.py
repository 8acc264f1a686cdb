"""Acting on a task that is known already: no exploration, no rewards.

Joins an attended robot with a posterior. It must not know where that was kept, nor the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robot.attended import Attempt, Attended
from robot.config import RobotConfig, ZHold
from robot.drivers.driver import Driver
from robot.known_task import KnownTask, require_fit
from robot.safety.estop import EStop


class Acting:
    """Episodes with the mean action, each with one z ~ q(z | the task's context).

    Args:
        episodes: end after this many; None goes on until asked to stop.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        name: str,
        task: KnownTask,
        *,
        bundle: Path,
        episodes: int | None = None,
    ) -> None:
        self._name, self._task = name, task
        self._bundle = bundle
        self._episodes = episodes
        self._robot = Attended(config, driver, f"acting on task {name}")

    @property
    def estop(self) -> EStop:
        return self._robot.estop

    @property
    def fault(self) -> str:
        """Why the robot is in fault; empty when it is not."""
        return self._robot.fault

    @property
    def cycles(self) -> dict[str, object]:
        """How the loop has kept time: `CycleReport.summary`."""
        return self._robot.cycles

    def request_stop(self, reason: str) -> None:
        """End the running episode safely, then all. Safe in a signal handler."""
        self._robot.request_stop(reason)

    def run(self) -> Iterator[Attempt]:
        """Yield each episode when it has ended; fewer than asked for after a stop or a fault.

        Raises:
            TaskError: the bundle has another encoder than the task.
            BundleRefused, Latched, DriverFault, LimitFault, JournalError: nothing has moved.
        """
        with self._robot.ready(self._bundle) as policy:
            require_fit(self._name, self._task, policy)
            trial, done = self._robot.recorder.next_number(), 0
            while done != self._episodes:
                attempt = self._robot.episode(
                    self._task.posterior, trial=trial, hold=ZHold.EPISODE, noise=False
                )
                if attempt is None:
                    return
                yield attempt
                done += 1
                if attempt.broken:
                    return
