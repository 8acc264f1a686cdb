"""A bundle's graphs, run by ONNX Runtime on one thread or on another provider.

Knows how to act, to decode one reward, and what one transition says of the task. It must not know
where observations come from, nor how z is chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.export.manifest import LIKELIHOOD
from fieldtune.export.sessions import CPU
from fieldtune.robot.policy.graphs import Graph, PolicyError, require_parity
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import GaussianPosterior, Posterior
from fieldtune.robot.policy.refinement import MOST, Rewarded, places

__all__ = ["Policy", "PolicyError", "multiplied"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


class Policy:
    """One bundle, ready to run. Arrays are float64, in physical units; the graphs are float32.

    `particles` is where z may be, `(particle, latent)`, in a bundle that infers by the decoder's
    likelihood; None in one that infers by the encoder. `provider` is what computes actions.
    """

    def __init__(
        self, bundle: Bundle, providers: Sequence[str] = CPU, tolerance: float | None = None
    ) -> None:
        """Load all graphs; of another provider than `cpu`, compare what it computes first.

        Args:
            bundle: verified.
            providers: `fieldtune.export.sessions.PROVIDERS`; the first that can be used is taken.
            tolerance: largest relative difference from the processor; the bundle's where None.

        Raises:
            PolicyError: ONNX Runtime refuses a graph, no provider can be used, or one computes
                something else.
        """
        manifest = bundle.manifest
        self.bundle_id = bundle.id
        self.manifest = manifest
        self.task_embeddings = np.array(manifest.task_embeddings)
        self.low = np.array([value for field in manifest.action_fields for value in field.low])
        self.high = np.array([value for field in manifest.action_fields for value in field.high])
        self._centre = (self.high + self.low) / 2
        self._half_range = (self.high - self.low) / 2
        graphs = {name: Graph(bundle, name, providers) for name in manifest.signatures}
        self._policy = graphs["policy.onnx"]
        self._encoder = graphs["encoder.onnx"]
        self._decoder = graphs["decoder.onnx"]
        known = manifest.likelihood
        self.particles = None if known is None else np.array(known.particles)
        self._likelihood = graphs.get(LIKELIHOOD)
        self.provider = self._policy.provider
        require_parity(bundle, list(graphs.values()), tolerance)

    def act(
        self,
        observation: Array,
        z: Array,
        rng: np.random.Generator | None = None,
        noise: float = 1.0,
    ) -> Array:
        """The action `(action,)`: the policy's mean, or drawn with `rng`.

        action = centre + half_range · tanh(mean + noise · exp(log_std) · ε)

        Args:
            observation: `(observation,)`.
            z: `(latent,)`.
            rng: of ε; without it, ε is 0.
            noise: times the policy's own spread.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        mean, log_std = self._policy(observation, z)
        if rng is not None:
            mean = mean + noise * np.exp(log_std) * rng.standard_normal(len(mean))
        action = self._centre + self._half_range * np.tanh(mean)
        # For the last bit; keeps NaN. np.clip takes three times as long for a handful of numbers.
        clipped: Array = np.minimum(np.maximum(action, self.low), self.high)
        return clipped

    def encode(
        self, observation: Array, action: Array, reward: float, next_observation: Array
    ) -> tuple[Array, Array]:
        """One transition's Gaussian factor: mean and variance, each `(latent,)`.

        Args:
            observation, next_observation: `(observation,)`; the latter is left aside where the
                bundle's context has none.
            action: `(action,)`, as applied.
            reward: in the family's units.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        inputs = [observation, action, np.array([reward])]
        if self.manifest.context_has_next_observation:
            inputs.append(next_observation)
        mean, variance = self._encoder(*inputs)
        return mean, variance

    def decode(self, observation: Array, action: Array, z: Array) -> float:
        """The reward that the task `z` would give.

        Args:
            observation: `(observation,)`.
            action: `(action,)`, as applied.
            z: `(latent,)`.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        (reward,) = self._decoder(observation, action, z)
        return float(reward[0])

    def log_likelihood(
        self,
        observation: Array,
        action: Array,
        reward: float,
        next_observation: Array,
        z: Array | None = None,
    ) -> Array:
        """log p of one transition under each z, up to a constant, `(place,)`.

        Args:
            observation, next_observation: `(observation,)`; the latter is left aside where the
                bundle's context has none.
            action: `(action,)`, as applied.
            reward: in the family's units.
            z: `(place, latent)`; the bundle's particles where None.

        Raises:
            PolicyError: the bundle has no particles, an input has another width, or the graph
                cannot be run.
        """
        if self._likelihood is None or self.particles is None:
            raise PolicyError(
                f"bundle {self.bundle_id[:12]} has no particles: it infers by the encoder"
            )
        inputs = [observation, action, np.array([reward])]
        if self.manifest.context_has_next_observation:
            inputs.append(next_observation)
        (found,) = self._likelihood.rows(*inputs, self.particles if z is None else z)
        return found[:, 0]

    def prior(self) -> Posterior:
        """What this bundle knows of a task before any transition."""
        if self.particles is None:
            known = self.manifest
            return GaussianPosterior.prior(known.latent_size, prior_factor=known.prior_factor)
        return ParticlePosterior.prior(self.particles)

    def update(
        self,
        posterior: Posterior,
        observation: Array,
        action: Array,
        reward: float,
        next_observation: Array,
    ) -> Posterior:
        """The posterior with one more transition.

        Args:
            posterior: from this bundle's `prior` on.
            observation, next_observation: `(observation,)`.
            action: `(action,)`, as applied.
            reward: in the family's units.

        Raises:
            PolicyError: as `encode` and `log_likelihood`.
            ValueError: what comes out is no number, or no Gaussian.
        """
        factor = self.factor(posterior, observation, action, reward, next_observation)
        return multiplied(posterior, factor)

    def factor(
        self,
        posterior: Posterior,
        observation: Array,
        action: Array,
        reward: float,
        next_observation: Array,
    ) -> tuple[Array, ...]:
        """What one transition adds to a posterior of this kind, for `multiplied`; as `update`."""
        transition = (observation, action, reward, next_observation)
        if isinstance(posterior, ParticlePosterior):
            return (self.log_likelihood(*transition, posterior.z),)
        return self.encode(*transition)

    def refined(
        self,
        posterior: Posterior,
        context: Sequence[Rewarded],
        *,
        lent: AbstractContextManager[None] | None = None,
        stopped: Callable[[], object] = lambda: False,
    ) -> Posterior:
        """The posterior with places between its particles, in the stead of those it had before:
        for after an episode, since all of its context is weighed there. As it is where it is the
        encoder's, rewards are −1 or 0 (`fieldtune.robot.policy.refinement`), nothing was rewarded
        yet, the context has more than `refinement.MOST`, or a place cannot be weighed, which is
        logged: the task is known all the same.

        Args:
            posterior: of exactly this context.
            context: every rewarded transition, in any order.
            lent: surrounds each inference, for whoever watches that it returns.
            stopped: asked before each; true leaves the posterior as it is.
        """
        if not isinstance(posterior, ParticlePosterior) or self.manifest.sparse_reward:
            return posterior
        if not 0 < len(context) <= MOST:
            return posterior
        z = places(posterior.z, posterior.log_weights, posterior.own)
        total = np.zeros(len(z))
        for transition in context:
            if stopped():
                return posterior
            try:
                with lent or nullcontext():
                    total += self.log_likelihood(*transition, z)
            except PolicyError as error:
                log.warning("the posterior is not refined: %s", error)
                return posterior
        if not np.isfinite(total).all():
            log.warning("the posterior is not refined: a place's log-likelihood is no number")
            return posterior
        return posterior.joined(z, total)

    def dry_run(self, observation: Array, z: Array | None = None, *, weigh: bool = True) -> None:
        """Run all graphs on one observation, moving nothing.

        Args:
            observation: `(observation,)`.
            z: the first task's embedding where not given.
            weigh: also run the likelihood, over all particles there are.

        Raises:
            PolicyError: a graph cannot be run on it, or anything that comes out is not finite, or
                not a Gaussian.
        """
        latent: Array = self.task_embeddings[0] if z is None else z
        action = self.act(observation, latent)
        _, log_std = self._policy(observation, latent)
        reward = self.decode(observation, action, latent)
        mean, variance = self.encode(observation, action, reward, observation)
        with np.errstate(over="ignore"):
            spread = np.exp(log_std)
        found = [
            ("policy.onnx gives the action", action),
            ("policy.onnx gives the spread", spread),
            ("decoder.onnx gives the reward", np.array([reward])),
            ("encoder.onnx gives the mean", mean),
            ("encoder.onnx gives the variance", variance),
        ]
        if self.particles is not None and weigh:
            likelihood = self.log_likelihood(observation, action, reward, observation)
            found.append((f"{LIKELIHOOD} gives the log-likelihood", likelihood))
        for what, values in found:
            if not np.isfinite(values).all():
                raise PolicyError(
                    f"{what} {_brief(values)} for the observation {_brief(observation)}: expected "
                    "numbers"
                )
        if not (variance > 0).all():
            raise PolicyError(f"encoder.onnx gives the variance {variance}: expected above 0")


def multiplied(posterior: Posterior, factor: tuple[Array, ...]) -> Posterior:
    """The posterior with one more `Policy.factor`. Raises `ValueError` for numbers that are none,
    and for no Gaussian."""
    if isinstance(posterior, ParticlePosterior | GaussianPosterior):
        return posterior.update(*factor)
    raise TypeError(f"{type(posterior).__name__} is no posterior of a bundle's")


def _brief(numbers: Array) -> str:
    """Numbers in a message, however many they are."""
    return np.array2string(numbers, precision=4, threshold=8, separator=", ")
