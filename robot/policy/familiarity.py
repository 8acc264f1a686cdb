"""Whether a task is like those that a bundle was trained on, by how well its context is explained.

Knows weights of particles and the bundle's threshold. It must not know where a context is from.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldtune.export.manifest import Manifest
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import Posterior


@dataclass(frozen=True)
class Familiarity:
    """How many of the `particles` still count, and what the likeliest makes of a context.

    `explained` is its mean log-likelihood a transition, None before any; the bundle says below
    which number (`unlike_below`) hardly a training task's is.
    """

    particles: int
    effective: float
    explained: float | None
    unlike_below: float

    @property
    def unlike(self) -> bool:
        return self.explained is not None and self.explained < self.unlike_below

    @property
    def warning(self) -> str:
        """For a person; empty where the task is like those of training."""
        if not self.unlike:
            return ""
        return (
            "this task is unlike any that the bundle was trained on: a transition's log-likelihood "
            f"is {self.explained:.3g} under the likeliest of {self.particles} particles, where "
            f"training's own tasks have {self.unlike_below:.3g} or more: check size and delay of "
            "the rewards; it acts as for the nearest task that it knows"
        )

    def facts(self) -> dict[str, float | bool | None]:
        """For programs."""
        return {
            "particles": self.particles,
            "effective_particles": self.effective,
            "explained": self.explained,
            "unlike_below": self.unlike_below,
            "unlike": self.unlike,
        }


def familiarity(posterior: Posterior, manifest: Manifest) -> Familiarity | None:
    """Of the context behind `posterior`; None for the encoder's, which cannot tell."""
    if manifest.likelihood is None or not isinstance(posterior, ParticlePosterior):
        return None
    return Familiarity(
        posterior.own,
        posterior.effective,
        posterior.explained,
        manifest.likelihood.unlike_below,
    )
