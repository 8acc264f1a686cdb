"""Adaptation: a few episodes with rewards, then the task.

Joins a robot's session with a stream of rewards. It must not know where rewards come from, nor the
network. The protocol is Pong et al. 2022's meta-test (sec. 5); where only some transitions
were rewarded, only those are the context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.config import RobotConfig, ZHold
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EndReason, ToldTask
from fieldtune.robot.policy.familiarity import Familiarity, familiarity
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.policy.refinement import MOST, Rewarded
from fieldtune.robot.policy.task_records import SavedTask, remember
from fieldtune.robot.programs.rewarded import gather
from fieldtune.robot.programs.session import Attempt, RobotSession
from fieldtune.robot.programs.within_episode import WithinEpisode, require_live
from fieldtune.robot.rewards.streams import LiveRewards, NoRewards, RewardStream

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

_UNLEARNED = (EndReason.FAULT, EndReason.LATE)


@dataclass(frozen=True)
class AdaptedEpisode:
    """One episode's return, over the `rewarded` of its steps. `acting` is False while the context
    is being collected."""

    number: int
    acting: bool
    steps: int
    rewarded: int
    total_reward: float
    reason: EndReason


@dataclass
class _Context:
    """What is known of the task, and the episodes that it is from."""

    posterior: Posterior
    transitions: int = 0
    episodes: list[int] = field(default_factory=list)
    rewarded: list[Rewarded] = field(default_factory=list)

    def add(self, episode: int, rewarded: Sequence[Rewarded]) -> None:
        """What `posterior` has taken in by now; as many kept as it is ever weighed anew by."""
        self.transitions += len(rewarded)
        self.episodes.append(episode)
        self.rewarded += rewarded[: MOST + 1 - len(self.rewarded)]


class Adaptation:
    """K context episodes that explore, then episodes that act with the mean action.

    A bundle with particles explores by posterior sampling (each context episode with one particle,
    drawn by what those before it said) and acts with the likeliest, refined after each episode;
    where `exploration.follow_rewards` is set and rewards come while an episode runs, its context
    episodes follow them. One without draws z from the prior, then from q(z | context).
    `robot` is what is stopped and asked how it went. `posterior` is what is known of the task,
    `familiarity` whether it is like those trained on, once the context is complete and where the
    bundle can tell.

    Args:
        rewards: closed; opened and closed here.
        bundle: what to adapt.
        context_episodes: K.
        episodes: acting episodes; each draws z from the posterior once.
        continuous: z follows the rewards of acting episodes too, within each.
        save: called with the task once its context is complete, before acting on it; where this is
            continuous, again after each acting episode.
        task: what a person calls it, kept with each episode.
    """

    def __init__(
        self,
        config: RobotConfig,
        driver: Driver,
        rewards: RewardStream,
        *,
        bundle: Path,
        context_episodes: int = 2,
        episodes: int = 1,
        continuous: bool = False,
        save: Callable[[SavedTask], None] = lambda _: None,
        task: ToldTask | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        self.config = config
        self.posterior: Posterior | None = None
        self.familiarity: Familiarity | None = None
        self._rewards = rewards
        self._bundle = bundle
        self._context_episodes = context_episodes
        self._episodes = episodes
        self._continuous = continuous
        if continuous:
            require_live(rewards)
        self.within: WithinEpisode | None = None
        self._save = save
        self.robot = RobotSession(config, driver, "adapting", task=task)
        self._seen: list[tuple[Array, Array, Array]] = []

    def run(self) -> Iterator[AdaptedEpisode]:
        """Yield each episode when it has ended; fewer than asked for after a stop or a fault.

        Raises:
            BundleRefused, Latched, DriverFault, LimitFault, JournalError: nothing has moved.
            NoRewards: nobody can give them, or the context episodes ended without one.
        """
        with ExitStack() as closing:
            closing.callback(self._rewards.close)
            policy = closing.enter_context(self.robot.ready(self._bundle))
            self._rewards.open()
            self.posterior = prior = policy.prior()
            context = _Context(prior)
            exploring = self.config.exploration.follow_rewards and prior.posterior_sampling
            if isinstance(self._rewards, LiveRewards) and (self._continuous or exploring):
                self.within = WithinEpisode(self.robot, policy, self._rewards)
                closing.callback(self.within.close)
            elif exploring:
                log.warning(
                    "robot.exploration.follow_rewards: rewards from %r come at the end of an "
                    "episode only, so that context episodes follow none",
                    self._rewards.source,
                )
            trial = self.robot.recorder.next_number()
            for index in range(self._context_episodes + self._episodes):
                acting = index >= self._context_episodes
                follows = acting or prior.posterior_sampling
                within = self.within if (self._continuous if acting else exploring) else None
                known = self.posterior if follows else prior
                attempt = self._one_episode(trial, known, within, acting=acting)
                if attempt is None:
                    break
                rewards = gather(self.robot, self._rewards, attempt)
                if within is not None:
                    self._heed(context, attempt, rewards, within, policy)
                elif not acting:
                    self._learn(context, attempt, rewards, policy)
                self.posterior = context.posterior
                yield AdaptedEpisode(
                    attempt.number,
                    acting,
                    attempt.steps,
                    len(rewards),
                    sum(rewards.values()),
                    attempt.reason,
                )
                if within is not None:
                    if within.trouble or attempt.reason in _UNLEARNED:
                        break
                    if acting and (context.transitions or not attempt.broken):
                        self._settle(context, policy)
                if attempt.broken or not self.robot.may_go_on():
                    break
                if index + 1 == self._context_episodes:
                    self._settle(context, policy)
            if self._rewards.error and not self.robot.fault:
                raise NoRewards(f"{self._rewards.error}: see to it and adapt again")

    def _one_episode(
        self, trial: int, z: Posterior, within: WithinEpisode | None, *, acting: bool
    ) -> Attempt | None:
        self._seen.clear()
        self._rewards.begin(self.robot.recorder.next_number())
        if within is not None:
            return within.episode(
                z,
                trial=trial,
                exploring=not acting,
                follow=self._follow,
                stop=lambda: self._rewards.error,
            )
        hold = self.config.exploration.z_hold
        if acting or (z.posterior_sampling and hold is ZHold.STEP):
            hold = ZHold.EPISODE  # a particle for a step alone tells of no task
        return self.robot.episode(
            z,
            trial=trial,
            hold=hold,
            noise=not acting,
            follow=self._follow,
            stop=lambda: self._rewards.error,
        )

    def _follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        self._seen.append((observation, action, next_observation))
        self._rewards.follow(observation, action, next_observation)

    def _learn(
        self, context: _Context, attempt: Attempt, rewards: dict[int, float], policy: Policy
    ) -> None:
        rewarded = self._rewarded(rewards)
        for transition in rewarded:
            with self.robot.estop.lent:
                context.posterior = policy.update(context.posterior, *transition)
        context.add(attempt.number, rewarded)
        if rewarded:
            self._refine(context, policy)

    def _heed(
        self,
        context: _Context,
        attempt: Attempt,
        rewards: dict[int, float],
        within: WithinEpisode,
        policy: Policy,
    ) -> None:
        """What an episode was that z followed, unless it broke: then the task is as before it."""
        if attempt.reason in _UNLEARNED:
            within.close()
            return
        posterior = within.finish(rewards)
        if posterior is not None:
            context.posterior = posterior
            context.add(attempt.number, self._rewarded(rewards))
            if rewards:
                self._refine(context, policy)
                within.known = context.posterior

    def _rewarded(self, rewards: dict[int, float]) -> list[Rewarded]:
        """The last episode's transitions that were."""
        found = []
        for step, reward in rewards.items():
            observation, action, following = self._seen[step]
            found.append((observation, action, reward, following))
        return found

    def _refine(self, context: _Context, policy: Policy) -> None:
        robot = self.robot
        context.posterior = policy.refined(
            context.posterior,
            context.rewarded,
            lent=robot.estop.lent,
            stopped=lambda: robot.estop.reason or robot.why_stop(),
        )

    def _settle(self, context: _Context, policy: Policy) -> None:
        """The context is complete."""
        if not context.transitions:
            raise NoRewards(
                f"no reward came in {len(context.episodes)} episodes, so the task is not known: "
                "check robot.rewards (docs/adapt.md), and adapt again"
            )
        self.familiarity = familiarity(context.posterior, policy.manifest)
        if self.familiarity is not None and self.familiarity.unlike:
            log.warning("%s", self.familiarity.warning)
        self._save(
            remember(
                context.posterior,
                policy,
                robot=self.config.name,
                transitions=context.transitions,
                episodes=context.episodes,
                rewards=self._rewards.source,
            )
        )
