"""Named sets of settings that a family's file is run with.

`lean` is the file itself: made for two cores. `reference` is the authors' released code (rlkit,
`rlkit/torch/smac/base_config` and its two example scripts), as far as a key is for it
(docs/settings.md says what is missing); it takes days on two cores. It keeps the file's family,
seed, data and robot, of evaluation how much is measured, and no key that training depends on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from fieldtune.sim.registry import family as make_family
from fieldtune.train.config import RunConfig
from fieldtune.train.study.published import published

Preset = Literal["lean", "reference"]

AUTHORS_ITERATIONS = {"cheetah-vel": 51}  # of phase 2, as their script for it says
_ITERATIONS = 501  # what their base configuration says: ant-dir's, and families without a script
UPDATES_AN_ITERATION = 16_000  # 4,000 contexts of 256 transitions, each in four parts of 64
STEPS_AN_ITERATION = 5_000  # 5 tasks, 400 steps and 600

# A section that begins empty has nothing of the file in it.
_EMPTY = (
    "algorithm={}",
    "methods={}",
    "offline={}",
    "self_supervised={}",
    "online={}",
    "randomisation={}",
    "robot.exploration={}",
)
_ALL_FAMILIES = (
    "inference=encoder",
    "algorithm.name=smac",
    "algorithm.networks.encoder=[200, 200, 200]",
    "algorithm.networks.policy=[300, 300, 300]",
    "algorithm.networks.critic=[300, 300, 300]",
    "algorithm.networks.decoder=[64, 64]",
    "algorithm.networks.critic_layer_norm=false",
    "algorithm.latent_size=5",
    "algorithm.advantage.weights=softmax",
    "algorithm.advantage.over=sampled",
    "algorithm.advantage.critics=before",
    "algorithm.advantage.temperature=100.0",
    "algorithm.distribution.log_std=[-20.0, 2.0]",
    "algorithm.distribution.action_edge=1.0e-6",
    "algorithm.distribution.least_variance=1.0e-7",
    "algorithm.prior_factor=false",
    "algorithm.meta_batch=4",
    "algorithm.repeat_tasks=true",
    "algorithm.batch=256",
    "algorithm.discount=0.99",
    "algorithm.n_step=1",
    "algorithm.learning_rate=3.0e-4",
    "algorithm.target_rate=0.005",
    "algorithm.reward_scale=5.0",
    "algorithm.kl_weight=0.1",
    "algorithm.dynamics_weight=0.0",
    "offline.batch=128",
    "offline.context.source=transitions",
    "offline.context.size=[64, 64]",
    "offline.updates=50000",
    "offline.checkpoint_every=4000",
    "self_supervised.encoder=frozen",
    "self_supervised.keep_optimisers=true",
    "self_supervised.offline_share=pooled",
    "self_supervised.context.source=transitions",
    "self_supervised.context.size=[64, 64]",
    f"self_supervised.first_steps={STEPS_AN_ITERATION}",
    "self_supervised.learning_rate=3.0e-4",
    "self_supervised.q_weight=1.0",
    "self_supervised.scale_by_q=false",
    "self_supervised.average_rate=1.0",  # the last iterate, no average
    "self_supervised.labels=1",
    "self_supervised.label_context=256",
    "self_supervised.label_z=trajectory",
    "self_supervised.posterior_from=buffer",
    "self_supervised.checkpoint_every=4000",
    "robot.exploration.z_hold=step",
    "robot.exploration.action_noise=1.0",
    "evaluation.action_noise=0.0",
)


def authors_iterations(family: str) -> int:
    """How often the authors' phase 2 explores and trains."""
    return AUTHORS_ITERATIONS.get(family, _ITERATIONS)


def smaller_than_the_authors(config: RunConfig) -> bool:
    """Whether phase 2 has fewer updates than the authors', so that what comes of it is no statement
    about their method at its own budget."""
    updates = UPDATES_AN_ITERATION * authors_iterations(config.family)
    return config.self_supervised.updates < updates


def overrides(
    preset: Preset, family: str, options: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """What `preset` sets for `family`, as `key=value`; what the user sets comes after and wins.

    Args:
        options: what the family is made with; a horizon may depend on it.

    Raises:
        UnknownFamily: there is no such family or option.
    """
    if preset != "reference":
        return ()
    own = _of_the_family(family, options or {})
    return (*_EMPTY, *_ALL_FAMILIES, *own, *published(family))


def _of_the_family(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    family, iterations = make_family(name, **options), authors_iterations(name)
    # Posterior exploration begins before there is a context, with one episode more from the prior.
    prior, posterior = math.ceil(400 / family.horizon), math.ceil(600 / family.horizon)
    return (
        f"self_supervised.updates={iterations * UPDATES_AN_ITERATION}",
        f"self_supervised.steps={iterations * STEPS_AN_ITERATION}",
        f"robot.exploration.prior_episodes={prior + 1}",
        f"robot.exploration.posterior_episodes={posterior - 1}",
    )
