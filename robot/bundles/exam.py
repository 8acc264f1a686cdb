"""What a bundle has to stand before a robot loads it: its graphs run over what they may meet.

Knows inputs and answers. It must not know processes, drivers, nor what becomes of a bundle that
fails; that it may hang, crash or take all memory is its caller's concern
(robot/bundles/trial.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.safety.layout import bounds

Array = NDArray[np.float64]

UNBOUNDED = 1e3  # in its own unit: further than a component without bounds is likely to go
DRAWS = 8
MOST_EMBEDDINGS = 64
PACE_CALLS = 5


def examine(bundle: Bundle) -> None:
    """Run all graphs over a range of observations, over the tasks' embeddings and over particles.

    Raises `PolicyError` for a graph that cannot be loaded or run, an output of another shape or
    that is no number, and a policy that is too slow for its control period even at its fastest.
    """
    policy, manifest = Policy(bundle), bundle.manifest
    observations = probes(manifest.observation_fields)
    embeddings = latents(policy.task_embeddings)
    if policy.particles is not None:
        embeddings = np.vstack([embeddings, _some(policy.particles)])
    for index in range(max(len(observations), len(embeddings))):
        observation = observations[index % len(observations)]
        z = embeddings[index % len(embeddings)]
        policy.dry_run(observation, z, weigh=index < len(observations))
    _check_pace(policy, observations[0], embeddings[0])


def probes(fields: Sequence[FieldSpec]) -> Array:
    """Observations `(n, observation)`: the middle, both ends, zeros, and draws from a fixed seed.

    Within the fields' bounds; where a component has none, up to `UNBOUNDED` to each side.
    """
    low, high = bounds(fields)
    low = np.where(np.isfinite(low), low, np.minimum(-UNBOUNDED, high))
    high = np.where(np.isfinite(high), high, np.maximum(UNBOUNDED, low))
    rng = np.random.default_rng(0)
    zeros = np.clip(np.zeros_like(low), low, high)
    drawn = low + (high - low) * rng.random((DRAWS, len(low)))
    return np.vstack([low / 2 + high / 2, low, high, zeros, drawn])


def latents(embeddings: Array) -> Array:
    """z to try `(n, latent)`: at most `MOST_EMBEDDINGS` of `embeddings`, and some of the prior."""
    drawn = np.random.default_rng(1).standard_normal((DRAWS, embeddings.shape[1]))
    return np.vstack([_some(embeddings), np.zeros_like(drawn[:1]), drawn, 2 * drawn])


def _some(rows: Array) -> Array:
    """At most `MOST_EMBEDDINGS` of them, the first and the last included."""
    count = min(len(rows), MOST_EMBEDDINGS)
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def _check_pace(policy: Policy, observation: Array, z: Array) -> None:
    """By this thread's processor time, at the fastest of some calls: a busy machine does not make
    that longer."""
    period_s, fastest_s = policy.manifest.period_s, np.inf
    for _ in range(PACE_CALLS):
        began = time.thread_time()
        policy.act(observation, z)
        fastest_s = min(fastest_s, time.thread_time() - began)
        if fastest_s <= period_s:
            return
    raise PolicyError(
        f"policy.onnx takes {fastest_s:.3g} s of processor time for an action, at its fastest, and "
        f"its control period is {period_s:g} s: export smaller networks"
    )
