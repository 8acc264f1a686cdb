"""Labelling a trial's context with the bundle's own decoder, while the robot rests.

Joins the policy's graphs and the exploration. It must not know time, drivers or the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.episodes.episode import Mode
from fieldtune.robot.policy.exploration import Exploration, Plan
from fieldtune.robot.policy.policy import Policy

Array = NDArray[np.float64]


class Labeller:
    """Keeps one prior episode's transitions, no more than its horizon; labels them after its end.

    A posterior episode follows its context and adds nothing to it. `lent` surrounds each inference,
    for whoever watches that it returns; `stopped` is asked before each of refinement, and ends it.
    """

    def __init__(
        self,
        policy: Policy,
        exploration: Exploration,
        plan: Plan,
        lent: AbstractContextManager[None] | None = None,
        stopped: Callable[[], object] = lambda: False,
    ) -> None:
        self._policy, self._exploration, self._plan = policy, exploration, plan
        self._lent = nullcontext() if lent is None else lent
        self._stopped = stopped
        self._transitions: list[tuple[Array, Array, Array]] = []

    def follow(self, observation: Array, action: Array, next_observation: Array) -> None:
        """Keep one transition of a prior episode. For the loop, so it does nothing else.

        Args:
            observation, next_observation: `(observation,)`, before and after the action.
            action: `(action,)`, as applied.
        """
        if self._plan.mode is Mode.PRIOR:
            self._transitions.append((observation, action, next_observation))

    def label(self) -> None:
        """Tell the exploration what the decoder says the transitions were worth."""
        policy, exploration = self._policy, self._exploration
        for observation, action, next_observation in self._transitions:
            with self._lent:
                reward = self._drawn(policy.decode(observation, action, self._plan.label_z))
                transition = observation, action, reward, next_observation
                known = policy.update(exploration.posterior, *transition)
            exploration.learn(known)
            exploration.context.append(transition)
        if self._transitions:
            context = exploration.context
            exploration.learn(
                policy.refined(
                    exploration.posterior, context, lent=self._lent, stopped=self._stopped
                )
            )
        self._transitions.clear()

    def _drawn(self, expected: float) -> float:
        """A reward that a task gives: where these are −1 or 0, inference knows no other."""
        if not self._policy.manifest.sparse_reward:
            return expected
        return 0.0 if expected + 1.0 > self._plan.label_threshold else -1.0
