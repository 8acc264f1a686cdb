"""What the released code of other methods sets, as keys of `methods` for the preset `reference`.

Read in FOCAL's `configs/default.py` and `launch_experiment.py`, in CSRO's of the same names with
`configs/point-robot.json` and `cheetah-vel.json`, in UNICORN's `offline_rl_config`, and in MACAW's
`config/alg/standard.json` with `src/args.py`, `src/nn.py` and `src/macaw.py`. What they
share with the SMAC of that preset (learning rate, target rate, discount, one step) is not repeated;
contexts, rows a task and updates are the study's, the same for all. BOReL's are read in its
`vae_config` and `offline_config`. docs/methods.md has the rest.
"""

from __future__ import annotations

_RLKIT = (
    "networks.encoder=[200, 200, 200]",
    "networks.policy=[256, 256, 256]",
    "networks.critic=[256, 256, 256]",
    "latent_size=20",
    "meta_batch=16",
    "repeat_tasks=false",
    "reward_scale=5.0",
)
_METHODS: dict[str, tuple[str, ...]] = {
    "focal": (*_RLKIT, "repulsion_power=2.0"),
    "csro": (*_RLKIT, "repulsion_power=2.0", "club_weight=0.1"),
    "unicorn": (
        "networks.encoder=[64, 64]",
        "networks.policy=[256, 256]",
        "networks.critic=[256, 256]",
        "latent_size=5",
        "meta_batch=16",
        "repeat_tasks=false",
        "reward_scale=1.0",
        "repulsion_power=2.0",
        "metric_weight=0.15",
    ),
    "macaw": (
        "networks.policy=[100, 100, 100]",
        "networks.critic=[100, 100, 100]",
        "code_size=100",
        "meta_batch=5",
        "repeat_tasks=false",
        "precision=float32",  # its second-order gradient, whatever others compute in
        "learning_rate=1.0e-4",
        "value_learning_rate=1.0e-5",
        "rates_learning_rate=1.0e-3",
        "value_inner_rate=1.0e-3",
        "policy_inner_rate=1.0e-3",
        "inner_steps=1",
        "advantage_weight=0.01",
        "temperature=1.0",
        "clip=20.0",
        "action_std=0.2",
        "bootstrap=true",
    ),
    "borel": (
        "networks.encoder=[128]",
        "networks.policy=[256, 256]",
        "networks.critic=[256, 256]",
        "networks.decoder=[32, 32]",
        "latent_size=5",
        "embedding=16",
        "meta_batch=16",
        "trials=8",
        "episodes=2",
        "elbo_terms=64",
        "decoded=64",
        "belief_kl_weight=0.05",
        "entropy_coefficient=0.2",
        "reward_scale=1.0",
    ),
}
_FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "point-goal": {
        "focal": ("discount=0.9", "reward_scale=100.0"),
        "csro": ("discount=0.9", "reward_scale=100.0", "club_weight=0.25"),
        "borel": (
            "discount=0.9",
            "networks.policy=[128, 128]",
            "networks.critic=[128, 128]",
            "entropy_coefficient=0.01",
        ),
    },
}


def published(family: str) -> tuple[str, ...]:
    """`methods.NAME.KEY=VALUE`, of all methods; a family's own come after those of all."""
    found = []
    for keys in (_METHODS, _FAMILIES.get(family, {})):
        for name, values in keys.items():
            found += [f"methods.{name}.{value}" for value in values]
    return tuple(found)
