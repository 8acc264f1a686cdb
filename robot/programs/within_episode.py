"""Episodes in which z follows the rewards: adaptation within the episode.

Joins a robot's session with a follower of the posterior and live rewards. It must not know where
rewards come from, nor what becomes of the posterior.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.policy.evidence import first_z
from fieldtune.robot.policy.exploration import Draws
from fieldtune.robot.policy.following import AT_ONCE, FollowedZ, Follower
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.programs.session import Attempt, RobotSession
from fieldtune.robot.rewards.streams import LiveRewards, NoRewards, RewardStream

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

HURRY_S = 1.0  # for the posterior of an episode after which the end was asked for


def require_live(rewards: RewardStream) -> LiveRewards:
    """The same stream. Raises `NoRewards` where it tells nothing before an episode's end."""
    if isinstance(rewards, LiveRewards):
        return rewards
    raise NoRewards(
        f"rewards from {rewards.source!r} come at the end of an episode only: adapt without "
        "--continuous"
    )


class WithinEpisode:
    """One episode after another; `trouble` says why z followed the rewards no further, and
    is empty where it did. `known` is the posterior after the last of them, for the summary.

    Args:
        robot: connected.
        policy: acts, and says what a transition is evidence of.
        rewards: open; asked on the follower's thread.
    """

    def __init__(self, robot: RobotSession, policy: Policy, rewards: LiveRewards) -> None:
        self.trouble = ""
        self._robot, self._policy, self._rewards = robot, policy, rewards
        self._every = robot.config.adaptation.every
        self._follower: Follower | None = None
        self.known: Posterior | None = None
        self._lags: list[list[int]] = []  # of each episode, in its order
        self._stopped_s: float | None = None

    def episode(
        self,
        known: Posterior,
        *,
        trial: int,
        exploring: bool,
        follow: Callable[[Array, Array, Array], None],
        stop: Callable[[], str],
    ) -> Attempt | None:
        """Run one. None when none may begin, or the robot faulted before.

        Args:
            known: of the task, before it.
            trial: the number that its episodes share.
            exploring: begin with a draw of z and draw actions, instead of beginning with the
                likeliest and acting with the mean.
            follow: told each transition, before the follower: observation, applied action, next
                observation.
            stop: one more reason to stop, asked every control period.
        """

        def source(draws: Draws) -> FollowedZ:
            z = known.sample(draws.z) if exploring else first_z(known, draws.z)
            return self._begin(known, z)

        def tell(observation: Array, action: Array, next_observation: Array) -> None:
            follow(observation, action, next_observation)
            assert self._follower is not None
            self._follower.put(observation, action, next_observation)

        attempt = None
        try:
            attempt = self._robot.episode_by(
                source, trial=trial, noise=exploring, follow=tell, stop=stop
            )
        finally:
            if attempt is None:
                self.close()
        return attempt

    def finish(self, rewards: Mapping[int, float]) -> Posterior | None:
        """The posterior after the last episode, by all of its rewards; None with `trouble`."""
        follower, self._follower = self._follower, None
        assert follower is not None, "episode() comes first"
        posterior = follower.finish(rewards, self._not_waited_for)
        self.trouble = follower.trouble
        if posterior is not None:
            self.known = posterior
        log.info("%s, %s", follower.name, follower.now)
        behind = float(np.median(self._lags[-1])) if self._lags[-1] else 0.0
        if behind > AT_ONCE:
            log.warning(
                "%s: z was %g steps behind in the median: this computer infers more slowly than "
                "transitions come; adapt without --continuous and without "
                "robot.exploration.follow_rewards, or on a faster one",
                follower.name,
                behind,
            )
        return posterior

    def close(self) -> None:
        """No episode is followed any more. Safe to call twice."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def summary(self) -> dict[str, object]:
        """The likeliest z in the end, and how far behind the rewards it was, in control steps."""
        lags = [lag for episode in self._lags for lag in episode]
        return {
            "every": self._every,
            "z": None if self.known is None else self.known.likeliest.tolist(),
            "lag_steps": {"median": float(np.median(lags)), "max": max(lags)} if lags else None,
            "trouble": self.trouble,
        }

    def _not_waited_for(self) -> bool:
        """Whether the posterior is not to be waited for: at once in a fault, and for a while where
        the end was asked for. An emergency stop takes hold here."""
        if self._robot.why_faulted():
            return True
        if not self._robot.why_stop():
            return False
        if self._stopped_s is None:
            self._stopped_s = time.monotonic()
        return time.monotonic() - self._stopped_s > HURRY_S

    def _begin(self, known: Posterior, first: Array) -> FollowedZ:
        robot = self._robot
        in_real_time = robot.runner.driver.time_scale == 1.0
        below = robot.config.realtime.priority if in_real_time else None
        self._follower = Follower(
            self._policy,
            known,
            first,
            self._rewards.so_far,
            priority=None if below is None else max(1, below - 1),
            name=f"episode {robot.recorder.next_number()}",
        ).start()
        z = FollowedZ(
            self._follower,
            self._every,
            patient=not in_real_time,
            stopped=lambda: robot.estop.reason or robot.why_stop(),
        )
        self._lags.append(z.lags)
        return z
