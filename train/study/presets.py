"""Named sets of settings that a family's file is run with.

`lean` is the file itself: made for two cores. `reference` sets what the authors' released code has
(ALGORITHM: Pong et al. 2022, appendix), as far as a setting is for it; it takes days on two cores.
"""

from __future__ import annotations

from typing import Literal

from fieldtune.train.config import RunConfig

Preset = Literal["lean", "reference"]

AUTHORS_UPDATES = 800_000  # of phase 2: 16,000 for each of 50 iterations

REFERENCE = (
    "algorithm.networks.encoder=[200, 200, 200]",
    "algorithm.networks.policy=[300, 300, 300]",
    "algorithm.networks.critic=[300, 300, 300]",
    "algorithm.networks.decoder=[64, 64]",
    "algorithm.networks.critic_layer_norm=false",
    "algorithm.advantage.weights=softmax",
    "algorithm.advantage.temperature=100.0",
    "algorithm.meta_batch=4",
    "algorithm.batch=256",
    "algorithm.discount=0.99",
    "algorithm.learning_rate=3.0e-4",
    "algorithm.reward_scale=5.0",
    "algorithm.kl_weight=0.1",
    "offline.context.source=transitions",
    "offline.context.size=[64, 64]",
    "offline.updates=50000",
    "self_supervised.context.source=transitions",
    "self_supervised.context.size=[64, 64]",
    f"self_supervised.updates={AUTHORS_UPDATES}",
    "self_supervised.steps=250000",  # 5,000 for each of 50 iterations
    "self_supervised.first_steps=5000",
    "self_supervised.learning_rate=3.0e-4",
    "self_supervised.scale_by_q=false",
    "self_supervised.average_rate=1.0",  # the last iterate, no average
    "self_supervised.labels=1",
    "robot.exploration.z_hold=step",
)


def smaller_than_the_authors(config: RunConfig) -> bool:
    """Whether phase 2 has fewer updates than the authors', so that what comes of it is no statement
    about their method at its own budget."""
    return config.self_supervised.updates < AUTHORS_UPDATES


def overrides(preset: Preset) -> tuple[str, ...]:
    """What `preset` sets, as `key=value`; what the user sets comes after and wins."""
    return REFERENCE if preset == "reference" else ()
