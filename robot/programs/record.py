"""Recording: episodes that a person or a script acts, with rewards or without, for phase 1.

Joins a robot's session with who acts, and with a stream of rewards. It must not know what is made
of the episodes, nor the network.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.actions.sources import ActionSource, NoZ, Steered
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.drivers.person import HandGuided, NotOffered
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Mode, ToldTask
from fieldtune.robot.loop.control_loop import Drive, Parts, run_episode
from fieldtune.robot.loop.guided_loop import beyond, follow_hand
from fieldtune.robot.loop.parts import EpisodeSpec
from fieldtune.robot.policy.exploration import Draws
from fieldtune.robot.programs.rewarded import gather
from fieldtune.robot.programs.session import Attempt, RobotSession
from fieldtune.robot.rewards.streams import NoRewards, RewardStream
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.estop import WaitAbandoned
from fieldtune.robot.safety.limits import Limits, check_observation

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

BY_HAND = "a person, by hand"


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode's return, over the `rewarded` of its steps; `beyond` of them left the action's
    range, which no hand is held to."""

    number: int
    steps: int
    rewarded: int
    total_reward: float
    beyond: int
    reason: EndReason


@dataclass
class _Hand:
    """Acts in nobody's place: a robot in a person's hands is asked for nothing."""

    def act(self, *_: object) -> Array:
        raise AssertionError("a guided robot is not commanded")


class Recording:
    """Episodes into the journal, one after another, each from a start.

    Where a person guides the robot by hand nothing is ever commanded, homing included: they bring
    it to its start themselves, in the `pause_s` before each episode. All others are homed, and each
    action goes through the robot's limits.

    Args:
        config: the robot's settings.
        driver: the hardware, disconnected.
        actions: who acts; None: a person's hand.
        rewards: closed; opened and closed here. None for none.
        steps: control periods an episode, at most.
        episodes: how many.
        task: what a person says that all of them are of.
        pause_s: before each episode.

    Raises `NotOffered` where the driver cannot be guided by hand.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        actions: ActionSource | None,
        *,
        steps: int,
        rewards: RewardStream | None = None,
        episodes: int = 1,
        task: ToldTask | msgspec.UnsetType = msgspec.UNSET,
        pause_s: float = 0.0,
    ) -> None:
        if actions is None and not isinstance(driver, HandGuided):
            raise NotOffered(
                f"the driver of {driver.robot!r} cannot let a person guide the robot by hand: give "
                "it the methods release and guided_action (docs/drivers.md), or record with --by "
                "teleoperation or a script"
            )
        self.robot = RobotSession(config, driver, "recording", task=task)
        self._driver = self.robot.runner.driver
        self._actions, self._rewards = actions, rewards
        self._steps, self._episodes, self._pause_s = steps, episodes, pause_s
        self._beyond = 0

    def run(self) -> Iterator[RecordedEpisode]:
        """Yield each episode when it has ended; fewer than asked for after a stop or a fault.

        Raises:
            LimitsError, Latched, DriverFault, JournalError, ActionsError, NoRewards: nothing has
                moved.
            LimitFault: what the robot senses is nothing to begin with.
            NotOffered: the hardware turns out not to have what this needs.
        """
        with ExitStack() as closing:
            if self._actions is not None:
                closing.callback(self._actions.close)
                self._actions.open()
            limits: list[Limits] = []
            closing.enter_context(self.robot.connected(lambda: limits.append(self._limits())))
            if self._rewards is not None:
                closing.callback(self._rewards.close)
                self._rewards.open()
            check_observation(self._driver.read().values, 0.0, limits[0])
            parts = self._parts(limits[0])
            trial = self.robot.recorder.next_number()
            for _ in range(self._episodes):
                attempt = self._one(parts, trial)
                if attempt is None:
                    break
                rewards = gather(self.robot, self._rewards, attempt) if self._rewards else {}
                yield RecordedEpisode(
                    attempt.number,
                    attempt.steps,
                    len(rewards),
                    sum(rewards.values()),
                    self._beyond,
                    attempt.reason,
                )
                if attempt.broken or not self.robot.may_go_on():
                    break
            if self._rewards is not None and self._rewards.error and not self.robot.fault:
                raise NoRewards(f"{self._rewards.error}: see to it and record again")

    def _limits(self) -> Limits:
        """The robot's own, with the config's: what it may be told is what it can."""
        driver = self._driver
        return build_limits(
            self.robot.config.limits,
            observation_fields=driver.observation_fields,
            robot_action_fields=driver.action_fields,
            policy_action_fields=driver.action_fields,
            period_s=driver.period_s,
        )

    def _parts(self, limits: Limits) -> Parts:
        if self._actions is None:
            return self.robot.runner.parts_for(_Hand(), limits)
        actor = Steered(self._actions, sum(field.width for field in self._driver.action_fields))
        return self.robot.runner.parts_for(actor, limits, asks_driver=self._actions.in_driver)

    def _one(self, parts: Parts, trial: int) -> Attempt | None:
        if not self.robot.may_go_on():
            return None
        number, actions = self.robot.recorder.next_number(), self._actions
        draws = Draws(self.robot.config.seed, number)
        if actions is not None:
            actions.begin(draws.start_seed, self._why_stop)
        if self._rewards is not None:
            self._rewards.begin(number)
        drive: Drive | None = follow_hand if actions is None else None
        outcome = self.robot.runner.carry_out(
            lambda: self._start(draws.start_seed),
            lambda: run_episode(parts, self._spec(parts, number, trial), drive),
            self._why_stop,
            self._steps,
        )
        return None if outcome is None else Attempt(number, outcome.steps, outcome.reason)

    def _start(self, seed: int) -> None:
        """To the start: by a person, or homed. What may be lacking is asked for before anything
        moves."""
        if self._actions is None:
            assert isinstance(self._driver, HandGuided), "seen to in __init__"
            self._driver.release()
            self._pause(read=True)
            return
        self._actions.require()
        self._pause(read=False)
        self._driver.home(seed)

    def _pause(self, *, read: bool) -> None:
        """Let a person get ready; read meanwhile what is in their hands, so that it stays there."""
        if self._pause_s:
            log.info("episode %d in %g s", self.robot.recorder.next_number(), self._pause_s)
        until = time.monotonic() + self._pause_s
        while time.monotonic() < until:
            if why := self._why_stop():
                raise WaitAbandoned(why)
            self.robot.estop.check()
            if read:
                self._driver.read()
            time.sleep(min(self._driver.period_s, max(0.0, until - time.monotonic())))

    def _why_stop(self) -> str:
        told = "" if self._rewards is None else self._rewards.error
        return self.robot.why_stop() or told

    def _spec(self, parts: Parts, number: int, trial: int) -> EpisodeSpec:
        config, actions = self.robot.config, self._actions
        self._beyond = 0
        header = EpisodeHeader(
            robot=config.name,
            family=config.family,
            boot_session=self.robot.runner.boot_session,
            number=number,
            trial=trial,
            bundle_id="",
            mode=Mode.GUIDED if actions is None else actions.mode,
            seed=config.seed,
            started_ns=parts.clock.now_ns(),
            period_s=self._driver.period_s,
            task=self.robot.task,
            by=(BY_HAND if actions is None else actions.by)[:1024],
        )
        return EpisodeSpec(
            header=header,
            horizon=self._steps,
            z=NoZ(),
            noise=None,
            follow=self._follow(parts.limits),
            stop=self._why_stop,
        )

    def _follow(self, limits: Limits) -> Callable[[Array, Array, Array], None]:
        rewards, by_hand = self._rewards, self._actions is None

        def follow(observation: Array, action: Array, next_observation: Array) -> None:
            self._beyond += by_hand and bool(beyond(action, limits))
            if rewards is not None:
                rewards.follow(observation, action, next_observation)

        return follow
