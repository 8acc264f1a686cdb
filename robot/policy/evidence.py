"""What an episode says of z by the rewards that count now, whatever was said before.

Holds each rewarded step's factor, so that a reward which changes or goes is taken back. It must not
know threads, nor where rewards come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy, multiplied
from fieldtune.robot.policy.posterior import Posterior

Array = NDArray[np.float64]
Transition = tuple[Array, Array, Array]
"""Observation, action as applied, next observation."""


class Evidence:
    """q(z | base, one episode's rewarded transitions). `posterior` is `base` itself while none is
    rewarded; up to the first `weighed` transitions, it follows every reward that counts.

    Args:
        policy: whose graphs say what a transition is evidence of.
        base: what was known before the episode.
    """

    def __init__(self, policy: Policy, base: Posterior) -> None:
        self._policy, self._base = policy, base
        self._transitions: list[Transition] = []
        self._factors: dict[int, tuple[Array, ...]] = {}
        self.rewards: dict[int, float] = {}
        self.weighed = 0
        self.posterior: Posterior = base

    @property
    def transitions(self) -> int:
        return len(self._transitions)

    def add(self, transition: Transition) -> None:
        """The next transition of the episode, not rewarded yet."""
        self._transitions.append(transition)

    def heed(
        self,
        rewards: Mapping[int, float],
        progress: Callable[[], object] = lambda: None,
        most: int | None = None,
    ) -> None:
        """Let these rewards count and no others; steps that are not there yet are left out.

        Args:
            rewards: by step.
            progress: called after each inference.
            most: infer no more steps than this, the earliest first, and leave the others out too.

        Raises:
            PolicyError: a graph cannot be run.
            ValueError: what it gives is no evidence.
        """
        known = {step: rewards[step] for step in sorted(rewards) if step < self.transitions}
        spoilt = [step for step, reward in self.rewards.items() if known.get(step) != reward]
        for step in spoilt:
            del self._factors[step]
        missing = [step for step in known if step not in self._factors]
        fresh = missing[:most]
        self.weighed = self.transitions if len(fresh) == len(missing) else missing[len(fresh)]
        for step in fresh:
            observation, action, following = self._transitions[step]
            self._factors[step] = self._policy.factor(
                self._base, observation, action, known[step], following
            )
            progress()
        self.rewards = {step: known[step] for step in known if step in self._factors}
        if spoilt:
            self.settle()
        else:
            self._multiply(fresh)

    def settle(self) -> None:
        """Multiply anew, step by step: the order in which rewards came leaves no trace, not in the
        last bit either."""
        self.posterior = self._base
        self._multiply(sorted(self._factors))

    def _multiply(self, steps: Iterable[int]) -> None:
        for step in steps:
            self.posterior = multiplied(self.posterior, self._factors[step])


def first_z(known: Posterior, rng: np.random.Generator) -> Array:
    """What an episode begins with, `(latent,)`: the likeliest z, or a particle drawn with `rng`
    while every one is as likely."""
    return known.decide(rng) if isinstance(known, ParticlePosterior) else known.likeliest


def certainty(known: Posterior) -> str:
    """How much of z is known, for people."""
    if isinstance(known, ParticlePosterior):
        return f"{known.effective:.1f} effective particles"
    return f"deviations of z up to {np.sqrt(known.variance.max()):.2g}"
