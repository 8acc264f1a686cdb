"""What is kept of a task that a robot has adapted to: a posterior, and where it is from.

Holds the records, version 1 by the encoder and version 2 by particles. It must not know files, nor
how a posterior is come by.

A posterior means something only to what it was made with and the policy trained beside it, so it
goes with the hash of that.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Annotated, Any

import msgspec
import numpy as np

from fieldtune.export.manifest import LIKELIHOOD, MOST_PARTICLES, Manifest
from fieldtune.robot.policy.familiarity import Familiarity
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior, Posterior

ENCODER = "encoder.onnx"
_LEAST_PRECISION = 1.0 / float(np.finfo(np.float32).max)  # of one factor, without the prior's

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Vector = Annotated[list[float], msgspec.Meta(min_length=1, max_length=4096)]
_Weights = Annotated[list[float], msgspec.Meta(min_length=1, max_length=2 * MOST_PARTICLES)]
_Number = Annotated[int, msgspec.Meta(gt=0)]


class _Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a task is from: `transitions` rewarded ones in `episodes` of this robot's journal made
    it; `rewards` is who gave them. `saved` is the wall clock, for people."""

    robot: str
    family: str
    bundle_id: _Hash
    transitions: Annotated[int, msgspec.Meta(ge=0)]
    episodes: list[_Number]
    rewards: str
    saved: str


class GaussianTask(
    _Learned, frozen=True, kw_only=True, tag_field="version", tag=1, omit_defaults=True
):
    """A posterior in natural parameters (`fieldtune.robot.policy.posterior`). `prior_factor` is the
    bundle's."""

    encoder_sha256: _Hash
    precision: _Vector
    precision_mean: _Vector
    prior_factor: bool = True

    @property
    def made_with(self) -> tuple[str, str]:
        """What a bundle must have to act on it, and its sha256."""
        return "encoder", self.encoder_sha256

    @property
    def familiarity(self) -> None:
        """The encoder cannot tell."""

    @property
    def posterior(self) -> GaussianPosterior:
        known = np.array(self.precision), np.array(self.precision_mean)
        return GaussianPosterior(*known, gives_way=not (self.prior_factor or self.transitions))

    def problem(self) -> str:
        """Why no adaptation can have written this; empty where one can."""
        posterior = self.posterior
        sound = len(self.precision) == len(self.precision_mean)
        if not (sound and np.isfinite(posterior.precision_mean).all()):
            return "precision and precision_mean are no pair"
        least = 1.0 if self.prior_factor else _LEAST_PRECISION
        if not (np.isfinite(posterior.precision).all() and (posterior.precision >= least).all()):
            return f"precision has values that no posterior has ({least:g} and above)"
        return ""


class ParticleTask(
    _Learned, frozen=True, kw_only=True, tag_field="version", tag=2, omit_defaults=True
):
    """Logarithms of weights (`fieldtune.robot.policy.particles`), not normalised, in the order of
    the bundle's particles and then of the places `refined`, which lie between those; and the
    threshold that it had for tasks unlike any trained on.

    The particles are the bundle's; `likelihood_sha256` is of them and of its likelihood. A task
    from before refinement has no such places; robots from before it refuse one that has.
    """

    likelihood_sha256: _Hash
    log_weights: _Weights
    unlike_below: float
    refined: Annotated[list[_Vector], msgspec.Meta(max_length=MOST_PARTICLES)] = []

    @property
    def made_with(self) -> tuple[str, str]:
        """What a bundle must have to act on it, and its sha256."""
        return "decoder and particles", self.likelihood_sha256

    @property
    def familiarity(self) -> Familiarity:
        weights = self._over(np.empty((len(self.log_weights), 0)))
        return Familiarity(weights.own, weights.effective, weights.explained, self.unlike_below)

    def over(self, particles: np.ndarray) -> ParticlePosterior:
        """The posterior, over the bundle's particles `(particle, latent)`."""
        return self._over(np.vstack([particles, *self.refined]))

    def _over(self, z: np.ndarray) -> ParticlePosterior:
        weights, added = np.array(self.log_weights), len(self.refined)
        return ParticlePosterior(weights, z, self.transitions, added)

    def problem(self) -> str:
        """Why no adaptation can have written this; empty where one can."""
        if not np.isfinite([*self.log_weights, self.unlike_below]).all():
            return "log_weights or unlike_below are not all numbers"
        if len({len(place) for place in self.refined}) > 1:
            return "refined has places of different widths"
        if not np.isfinite(self.refined).all():
            return "refined has values that are no numbers"
        if len(self.refined) >= len(self.log_weights):
            return f"refined has {len(self.refined)} places of {len(self.log_weights)} weights"
        return ""


SavedTask = GaussianTask | ParticleTask


def remember(
    posterior: Posterior,
    policy: Policy,
    *,
    robot: str,
    transitions: int,
    episodes: list[int],
    rewards: str,
) -> SavedTask:
    """What to keep of an adaptation that has just come to its posterior.

    Args:
        posterior: of the task.
        policy: the bundle that made it.
        robot: the robot's name.
        transitions: how many had a reward.
        episodes: numbers of those that they are from, in this robot's journal.
        rewards: who gave them.
    """
    manifest = policy.manifest
    source: dict[str, Any] = {
        "robot": robot,
        "family": manifest.family,
        "bundle_id": policy.bundle_id,
        "transitions": transitions,
        "episodes": list(episodes),
        "rewards": rewards,
        "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if isinstance(posterior, ParticlePosterior):
        assert manifest.likelihood is not None, "a policy with particles has the section"
        return ParticleTask(
            **source,
            likelihood_sha256=makes_weights(manifest),
            log_weights=posterior.log_weights.tolist(),
            unlike_below=manifest.likelihood.unlike_below,
            refined=posterior.z[posterior.own :].tolist(),
        )
    assert isinstance(posterior, GaussianPosterior)
    return GaussianTask(
        **source,
        encoder_sha256=manifest.files[ENCODER].sha256,
        precision=posterior.precision.tolist(),
        precision_mean=posterior.precision_mean.tolist(),
        prior_factor=manifest.prior_factor,
    )


def posterior_of(task: SavedTask, manifest: Manifest) -> Posterior:
    """The posterior that `task` keeps, for a bundle that `fits` it."""
    if isinstance(task, GaussianTask):
        return task.posterior
    assert manifest.likelihood is not None, "the bundle has to fit the task"
    return task.over(np.array(manifest.likelihood.particles))


def fits(task: SavedTask, manifest: Manifest) -> bool:
    """Whether what `task` keeps means to a bundle what it meant to the one that made it."""
    if isinstance(task, GaussianTask):
        same = task.encoder_sha256 == manifest.files[ENCODER].sha256
        alike = task.prior_factor == manifest.prior_factor
        return same and alike and len(task.precision) == manifest.latent_size
    known = manifest.likelihood
    return (
        known is not None
        and task.likelihood_sha256 == makes_weights(manifest)
        and len(task.log_weights) == len(known.particles) + len(task.refined)
        and all(len(place) == manifest.latent_size for place in task.refined[:1])
    )


def makes_weights(manifest: Manifest) -> str:
    """sha256 of a bundle's particles and of what weighs them; of a bundle that has some."""
    assert manifest.likelihood is not None, "the bundle has no particles"
    particles = np.array(manifest.likelihood.particles, dtype="<f8")
    made = hashlib.sha256(manifest.files[LIKELIHOOD].sha256.encode())
    made.update(particles.tobytes())
    return made.hexdigest()
