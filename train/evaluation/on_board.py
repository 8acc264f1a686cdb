"""What a bundle returns on a run's held-out tasks, computed as a robot computes it.

The bundle's own graphs act and infer, by the robot's code (`fieldtune.robot.policy`), one
transition at a time; only the robot is simulated. So it shows what a conversion costs. Returns are
of the same protocol as `fieldtune.train.evaluation.protocol`'s, but of other draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.robot.policy.exploration import Draws, ZSource
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.sim.success import has_success, succeeded
from fieldtune.train.cores import workers
from fieldtune.train.evaluation.protocol import QUOTED
from fieldtune.train.runs.bundle_samples import require_fit
from fieldtune.train.runs.run import Run

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BundleReturns:
    """Of the episode that counts, after `context_episodes` of own exploration with true rewards.

    Attributes:
        returns: `(task, repeat)`.
        successes: 1 or 0 likewise; None where the family has no success.
    """

    bundle_id: str
    context_episodes: int
    returns: Floats
    successes: Floats | None


def measure_bundle(run: Run, bundle: Bundle, repeats: int | None = None) -> BundleReturns:
    """Adapt to each held-out task of a run from own exploration, then do it. The run's seed decides
    start states and draws, the same for every bundle.

    Args:
        run: its family, held-out tasks, `evaluation.repeats` and `robot.exploration` are read.
        bundle: verified.
        repeats: in the place of `evaluation.repeats`.

    Raises:
        BundleMismatch: the bundle is for another family or robot.
        PolicyError: ONNX Runtime refuses a graph, or an action is no number.
    """
    require_fit(run, bundle.manifest)
    settings, family = run.config.evaluation, run.family
    each = settings.repeats if repeats is None else repeats
    tasks = np.repeat(run.dataset.test_tasks, each, axis=0)
    count = min(QUOTED, settings.context_episodes)
    policy = Policy(bundle)
    known = [policy.prior() for _ in tasks]
    simulator = family.simulator(len(tasks), workers(run.config.workers))
    try:
        for episode in range(count + 1):
            counts = episode == count
            copies = _Copies(run, policy, known, episode, counts)
            heed = copies.heed if copies.follows else None
            found = rollout(simulator, family, copies.act, copies.start_seeds, tasks, heed=heed)
            if not counts:
                known = [_after(policy, *pair) for pair in zip(known, found, strict=True)]
    finally:
        simulator.close()
    shape = (len(run.dataset.test_tasks), each)
    done = np.array([succeeded(family, one) for one in found], dtype=np.float64)
    return BundleReturns(
        bundle.id,
        count,
        np.array([one.rewards.sum() for one in found]).reshape(shape),
        done.reshape(shape) if has_success(family) else None,
    )


class _Copies:
    """One episode in every copy: each with its own z and its own draws.

    Attributes:
        follows: whether it goes on with the likeliest z by its rewards, which `heed` is told.
        start_seeds: `(copy,)`.
    """

    def __init__(
        self, run: Run, policy: Policy, known: list[Posterior], episode: int, counts: bool
    ) -> None:
        exploring = run.config.robot.exploration
        asked = run.config.evaluation.action_noise
        self._noise = exploring.action_noise if asked is None else asked
        if counts:
            self._noise = 0.0
        self._policy, self._known = policy, list(known)
        follow = exploring.follow_rewards and not counts
        self.follows = follow and all(each.posterior_sampling for each in known)
        self._likeliest: list[Floats] | None = None  # by the rewards so far, once there are any
        self._draws = [Draws(run.config.seed, episode * len(known) + n) for n in range(len(known))]
        self.start_seeds = np.array([draws.start_seed for draws in self._draws], dtype=np.int64)
        prior = policy.prior()
        self._z = [
            ZSource(
                posterior if counts or posterior.posterior_sampling else prior,
                exploring.z_hold,
                draws.z,
                counts=counts,
            )
            for posterior, draws in zip(known, self._draws, strict=True)
        ]

    def act(self, observations: Floats) -> Floats:
        """Physical actions `(copy, action)`. Raises `PolicyError` for what is no number."""
        held = self._likeliest or [z.next() for z in self._z]
        actions = np.stack(
            [
                self._policy.act(row, z, draws.noise if self._noise else None, self._noise)
                for row, z, draws in zip(observations, held, self._draws, strict=True)
            ]
        )
        if not np.isfinite(actions).all():
            raise PolicyError(
                f"bundle {self._policy.bundle_id[:12]}: policy.onnx gives an action that is no "
                "number: `bundle verify` shows whether a robot would take it"
            )
        return actions

    def heed(self, s: Floats, a: Floats, r: Floats, reached: Floats) -> None:
        """A step was rewarded: the episode goes on with the likeliest z."""
        told = zip(self._known, s, a, r, reached, strict=True)
        self._known = [
            self._policy.update(known, observation, action, float(reward), following)
            for known, observation, action, reward, following in told
        ]
        self._likeliest = [known.likeliest for known in self._known]


def _after(policy: Policy, known: Posterior, episode: LabelledEpisode) -> Posterior:
    transitions = zip(
        episode.observations[:-1],
        episode.actions,
        episode.rewards,
        episode.next_observations,
        strict=True,
    )
    for observation, action, reward, reached in transitions:
        known = policy.update(known, observation, action, float(reward), reached)
    return known
