"""Acting on a task that is known already: no exploration, no rewards.

Joins a robot's session with a posterior. It must not know where that was kept, nor the network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from fieldtune.robot.config import RobotConfig, ZHold
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.policy.saved_tasks import require_fit
from fieldtune.robot.policy.task_records import SavedTask, posterior_of
from fieldtune.robot.programs.session import Attempt, RobotSession

log = logging.getLogger(__name__)


class Acting:
    """Episodes with the mean action, each with one z of the task: the likeliest particle, or a draw
    from the encoder's q(z | context).

    `robot` is what is stopped and asked how it went.

    Args:
        episodes: end after this many; None goes on until asked to stop.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        name: str,
        task: SavedTask,
        *,
        bundle: Path,
        episodes: int | None = None,
    ) -> None:
        self._name, self._task = name, task
        self._bundle = bundle
        self._episodes = episodes
        self.robot = RobotSession(config, driver, f"acting on task {name}")

    def run(self) -> Iterator[Attempt]:
        """Yield each episode when it has ended; fewer than asked for after a stop or a fault.

        Raises:
            TaskError: the task was not learned with what this bundle infers by.
            BundleRefused, Latched, DriverFault, LimitFault, JournalError: nothing has moved.
        """
        with self.robot.ready(self._bundle) as policy:
            require_fit(self._name, self._task, policy)
            posterior = posterior_of(self._task, policy.manifest)
            if (known := self._task.familiarity) is not None and known.unlike:
                log.warning("task %s: %s", self._name, known.warning)
            trial, done = self.robot.recorder.next_number(), 0
            while done != self._episodes:
                attempt = self.robot.episode(
                    posterior, trial=trial, hold=ZHold.EPISODE, noise=False
                )
                if attempt is None:
                    return
                yield attempt
                done += 1
                if attempt.broken:
                    return
