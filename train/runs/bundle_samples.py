"""Inputs of a bundle's graphs from a run's own data, for measuring a converted one.

Knows runs and manifests; not what is done with the samples.
"""

from __future__ import annotations

import numpy as np

from fieldtune.export.bundle import BundleMismatch, check_compatible
from fieldtune.export.differences import Samples
from fieldtune.export.manifest import Manifest
from fieldtune.train.runs.bundles import field_specs
from fieldtune.train.runs.run import Run


def require_fit(run: Run, manifest: Manifest) -> None:
    """Raise `BundleMismatch` where a bundle was made for another family or robot than a run."""
    family = run.family
    if manifest.family != family.name:
        raise BundleMismatch(
            f"it is for the task family {manifest.family!r}, the run is of {family.name!r}: give "
            "the run that the bundle was exported from"
        )
    check_compatible(
        manifest,
        robot=family.robot,
        observation_fields=field_specs(family.observation_fields),
        action_fields=field_specs(family.action_fields),
        period_s=family.period_s,
    )


def dataset_samples(run: Run, manifest: Manifest, count: int) -> Samples:
    """Transitions of the training tasks' data, each with a z of the bundle's, float32
    `(sample, width)` by input name.

    Args:
        run: whose dataset and seed.
        manifest: of the bundle that they are for; z is a particle or, without any, a task's.
        count: of samples.

    Raises:
        BundleMismatch: the bundle is for another family or robot.
    """
    require_fit(run, manifest)
    data, rng = run.dataset, np.random.default_rng(run.config.seed)
    observations = data.observations()
    rows = rng.integers(len(observations), size=count)
    known = manifest.likelihood
    where = np.array(manifest.task_embeddings if known is None else known.particles)
    columns = {
        "observation": observations[rows],
        "action": data.actions()[rows],
        "reward": data.rewards()[rows, None],
        "next_observation": data.next_observations()[rows],
        "z": where[rng.integers(len(where), size=count)],
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}
