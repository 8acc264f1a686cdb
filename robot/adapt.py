"""Adaptation: a few episodes with rewards, then the task.

Joins the station with a source of rewards. It must not know where rewards come from, nor the
network. The protocol is Pong et al. 2022's meta-test (ALGORITHM.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robot.config import RobotConfig, ZHold
from robot.drivers.driver import Driver
from robot.episode import EndReason, Mode
from robot.exploration import Draws, ZSource
from robot.posterior import Posterior
from robot.recorder import Recorder
from robot.station import Station

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


@runtime_checkable
class RewardSource(Protocol):
    """Whoever can say what a transition was worth: a person, a sensor, or the simulator.

    Asked once a transition, before the next action.
    """

    def reward(self, observation: Array, action: Array, next_observation: Array) -> float: ...


class NoRewards(Exception):
    """Nothing here measures rewards."""


@dataclass(frozen=True)
class AdaptedEpisode:
    """One episode's return. `acting` is False while the context is being collected."""

    number: int
    acting: bool
    steps: int
    total_reward: float
    reason: EndReason


@dataclass
class _Ledger:
    """Adds up rewards, and the context when it is told to."""

    source: RewardSource
    transitions: list[tuple[Array, Array, float, Array]] = field(default_factory=list)

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        reward = self.source.reward(observation, action, next_observation)
        self.transitions.append((observation, action, reward, next_observation))

    @property
    def total(self) -> float:
        return sum(reward for _, _, reward, _ in self.transitions)


class Adaptation:
    """K context episodes with z ~ prior, then episodes with the mean action and z ~ q(z | context).

    Args:
        bundle: what to adapt.
        rewards: asked once for each transition.
        context_episodes: K.
        episodes: acting episodes; each draws z from the posterior once.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        rewards: RewardSource,
        *,
        bundle: Path,
        context_episodes: int = 2,
        episodes: int = 1,
    ) -> None:
        self.config = config
        self.posterior: Posterior | None = None
        self._rewards = rewards
        self._bundle = bundle
        self._context_episodes = context_episodes
        self._episodes = episodes
        self._recorder = Recorder(config.journal, quota_bytes=config.journal_quota_bytes)
        self._station = Station(config, driver, self._recorder)
        self.estop = self._station.estop
        self._stop_reason = ""

    def request_stop(self, reason: str) -> None:
        """End the running episode safely, then the adaptation. Safe in a signal handler."""
        self._stop_reason = reason

    @property
    def fault(self) -> str:
        """Why the robot is in fault; empty when it is not."""
        return self._station.states.fault_reason

    @property
    def cycles(self) -> dict[str, object]:
        """How the loop has kept time: `CycleReport.summary`."""
        return self._station.report.summary()

    def run(self) -> Iterator[AdaptedEpisode]:
        """Yield each episode when it has ended; fewer than asked for after a stop or a fault.

        Raises:
            BundleRefused, Latched, DriverFault, LimitFault, JournalError: nothing has moved.
        """
        with ExitStack() as closing:
            closing.callback(self._recorder.close)
            closing.callback(self._station.close)
            self._station.require_unlatched()
            self._station.check(self._bundle)
            self._recorder.start()
            self._station.connect()
            policy = self._station.take(self._bundle).policy
            prior = Posterior.prior(policy.manifest.latent_size)
            self.posterior = prior
            trial = self._recorder.next_number()
            for index in range(self._context_episodes + self._episodes):
                acting = index >= self._context_episodes
                ledger = _Ledger(self._rewards)
                z = self.posterior if acting else prior
                episode = self._one_episode(trial, z, acting, ledger)
                if episode is None:
                    return
                if not acting:
                    for transition in ledger.transitions:
                        self.posterior = self.posterior.update(*policy.encode(*transition))
                yield episode
                if episode.reason in (EndReason.FAULT, EndReason.STOPPED):
                    return

    def _one_episode(
        self, trial: int, z: Posterior, acting: bool, ledger: _Ledger
    ) -> AdaptedEpisode | None:
        number = self._recorder.next_number()
        draws = Draws(self.config.seed, number)
        hold = ZHold.EPISODE if acting else self.config.exploration.z_hold
        outcome = self._station.run(
            Mode.ADAPT,
            number,
            trial,
            ZSource(z, hold, draws.z),
            draws,
            noise=not acting,
            follow=ledger.follow,
            stop=self._why_stop_now,
        )
        if outcome is None:
            return None
        return AdaptedEpisode(number, acting, outcome.steps, ledger.total, outcome.reason)

    def _why_stop_now(self) -> str:
        if self._stop_reason:
            return self._stop_reason
        if self._recorder.error:
            return f"the journal cannot be written: {self._recorder.error}"
        return ""


def reward_source(driver: Driver) -> RewardSource:
    """The driver itself, where it can tell rewards. Raises `NoRewards`."""
    if isinstance(driver, RewardSource):
        return driver
    raise NoRewards(
        f"driver of {driver.robot!r} measures no rewards, and adapting needs them: use a driver "
        "with a `reward` method, or explore without rewards with `fieldtune-robot run`"
    )
