"""From an agent to a bundle: what the exporter is told about a policy."""

from __future__ import annotations

import copy
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.export.manifest import Description, FieldSpec, Likelihood, Provenance
from fieldtune.export.writer import write_bundle
from fieldtune.sim.family import Array, Field
from fieldtune.train.agent.graphs import PolicyGraphs
from fieldtune.train.agent.likelihood import Particles
from fieldtune.train.agent.normalisation import AlmostConstant, almost_constant
from fieldtune.train.agent.units import context_of
from fieldtune.train.algorithms.algorithm import Exportable
from fieldtune.train.algorithms.optimisation import TrainingDiverged
from fieldtune.train.config import ONLY_WHERE
from fieldtune.train.data.replay import Replay
from fieldtune.train.device import CPU, device_of, random_state_kept, to_numpy
from fieldtune.train.runs.checkpoint import not_finite
from fieldtune.train.runs.inference import by_likelihood
from fieldtune.train.runs.origin import start_of
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run

PARITY_SAMPLES = 1024


class Exporter:
    """Writes bundles of one algorithm; exporting it again after training costs little.

    Args:
        run: whose setting `inference` says what a robot is to infer by.
        trained: what is exported; from a copy on the CPU where it computes elsewhere.
        offline: the training tasks' offline data in its units, where they are at hand already.
    """

    def __init__(self, run: Run, trained: Exportable, offline: Replay | None = None) -> None:
        self.run, self._learned = run, trained
        self._trained = trained
        if device_of(trained) != CPU:
            self._trained = copy.deepcopy(trained)
            self._trained.networks.to(CPU)
        self._offline = None if offline is None else offline.on(CPU)
        self._graphs = trained.graphs()
        self._samples = _samples(run, self._graphs)
        self._seen = observation_seen(run)

    def write(
        self,
        path: Path,
        *,
        phase: Literal["offline", "self-supervised"],
        updates: int,
        parent: str | None = None,
    ) -> Bundle:
        """Export, check against torch, write atomically; where something is wrong, write nothing.

        Args:
            path: the bundle file, replaced where there is one.
            phase: what the weights were trained in.
            updates: of that phase, for the provenance.
            parent: the id of the bundle published before this one, if any.

        Raises:
            TrainingDiverged: a weight, the z of a training task, or what the decoder is off by
                there, is not finite.
            ParityError: ONNX Runtime and torch disagree.
        """
        embeddings = self._finite_task_embeddings()
        likelihood = self._likelihood()
        start = start_of(self.run)
        family, config, graphs = self.run.family, self.run.config, self._graphs
        where = dict.fromkeys(("robot", "methods", *ONLY_WHERE), True)
        text = config.model_dump_json(exclude={**where, "data": {"path"}})
        description = Description(
            family=family.name,
            robot=family.robot,
            observation_fields=field_specs(family.observation_fields),
            action_fields=field_specs(family.action_fields),
            period_s=family.period_s,
            horizon=family.horizon,
            latent_size=graphs.latent_size,
            context_has_next_observation=graphs.next_in_context,
            sparse_reward=graphs.sparse_reward,
            prior_factor=graphs.prior_factor,
            task_embeddings=tuple(tuple(row) for row in embeddings.tolist()),
            observation_seen=self._seen,
            likelihood=likelihood,
            provenance=Provenance(
                fieldtune_version=fieldtune_version(),
                dataset=self.run.dataset.id,
                config_sha256=hashlib.sha256(text.encode()).hexdigest(),
                seed=config.seed,
                phase=phase,
                updates=updates,
                parent_bundle=parent,
                warm_start=None if start is None else start["weights"],
            ),
        )
        return write_bundle(
            path,
            description,
            samples=self._samples,
            policy=graphs.policy,
            encoder=graphs.encoder,
            decoder=graphs.decoder,
            likelihood=None if likelihood is None else graphs.likelihood,
        )

    def almost_constant(self) -> list[AlmostConstant]:
        """What varies too little in the data for a robot's own number to be worth much."""
        fields, seen = self.run.family.observation_fields, self.run.dataset.observations()
        return almost_constant(fields, seen, self._trained.normalisation)

    def _finite_task_embeddings(self) -> NDArray[np.float64]:
        weights = self._learned.networks.state_dict()
        if self._trained is not self._learned:
            self._trained.networks.load_state_dict(weights)
        wrong = not_finite(weights)
        if wrong:
            raise TrainingDiverged(
                f"{len(wrong)} of {len(weights)} weights are not finite, {wrong[0]} among them: "
                "training has diverged, and no bundle is written of it"
            )
        embeddings = self._task_embeddings()
        if not np.isfinite(embeddings).all():
            raise TrainingDiverged(
                "the encoder's z of the training tasks' own data is not finite: training has "
                "diverged, and no bundle is written of it"
            )
        return embeddings

    def _likelihood(self) -> Likelihood | None:
        """What a robot infers by, measured with the weights of now; None where the run says that it
        infers by the encoder. The same weights give the same particles."""
        if self.run.config.inference != "likelihood":
            return None
        if self._offline is None:
            self._offline = offline_replay(self.run, self._trained)
        particles = by_likelihood(self.run, self._trained.agent, self._offline).particles
        self._graphs.likelihood.measured(particles)
        return _section(particles)

    def _task_embeddings(self) -> NDArray[np.float64]:
        """z of each training task's whole offline data, `(task, latent)`: same weights, same z."""
        with torch.no_grad(), random_state_kept():
            torch.manual_seed(self.run.config.seed)
            embeddings = [
                self._trained.embedding(context_of(self._trained, episodes))
                for episodes in self.run.dataset.train
            ]
            return to_numpy(torch.cat(embeddings).double())


def _section(particles: Particles) -> Likelihood:
    """The manifest's section `likelihood`. Raises `TrainingDiverged`."""
    change = particles.change_variance
    measured = torch.tensor([particles.reward_variance, particles.temper, particles.unlike_below])
    numbers = [particles.z.flatten(), measured]
    numbers += [] if change is None else [change]
    if not torch.cat(numbers).isfinite().all():
        raise TrainingDiverged(
            "the particles, or what the decoder is off by there, are not finite: training has "
            "diverged, and no bundle is written of it"
        )
    return Likelihood(
        particles=tuple(tuple(row) for row in particles.z.double().tolist()),
        reward_variance=particles.reward_variance,
        change_variance=None if change is None else tuple(change.double().tolist()),
        temper=particles.temper,
        unlike_below=particles.unlike_below,
    )


def field_specs(fields: tuple[Field, ...]) -> tuple[FieldSpec, ...]:
    """A family's fields as a manifest spells them."""
    return tuple(FieldSpec(name=f.name, unit=f.unit, low=f.low, high=f.high) for f in fields)


def observation_seen(run: Run) -> tuple[FieldSpec, ...]:
    """The observation fields with the range of the training tasks' data in the place of bounds."""
    episodes = [episode.observations for task in run.dataset.train for episode in task]
    low = np.min([rows.min(axis=0) for rows in episodes], axis=0).tolist()
    high = np.max([rows.max(axis=0) for rows in episodes], axis=0).tolist()
    seen, start = [], 0
    for field in run.family.observation_fields:
        part = slice(start, start + field.width)
        seen.append(FieldSpec(name=field.name, unit=field.unit, low=low[part], high=high[part]))
        start = part.stop
    return tuple(seen)


def fieldtune_version() -> str:
    try:
        return version("fieldtune")
    except PackageNotFoundError:
        return "unknown"


def _samples(run: Run, graphs: PolicyGraphs) -> dict[str, NDArray[np.float32]]:
    """Rows over the dataset's own range, for the parity check, and then rows beyond it.

    In a quarter of all rows, observations, actions and rewards are some way off what was seen, up
    to absurdly far, so that what is clipped is compared too.
    """
    data, rng = run.dataset, np.random.default_rng(run.config.seed)
    observations = data.observations()
    rows = rng.integers(len(observations), size=PARITY_SAMPLES)
    columns = {
        "observation": observations[rows],
        "action": data.actions()[rows],
        "reward": data.rewards()[rows, None],
        "z": rng.standard_normal((PARITY_SAMPLES, graphs.latent_size)),
    }
    if graphs.next_in_context:
        columns["next_observation"] = data.next_observations()[rows]
    scaled = {
        name: column if name == "z" else _partly_beyond(column, rng)
        for name, column in columns.items()
    }
    return {name: column.astype(np.float32) for name, column in scaled.items()}


def _partly_beyond(rows: Array, rng: np.random.Generator) -> Array:
    """The last quarter of `rows` `(row, component)` moved by a thousandth to a millionfold."""
    kept = len(rows) - len(rows) // 4
    moved = rows[kept:]
    far = 10.0 ** rng.uniform(-3, 6, size=(len(moved), 1))
    reach = np.abs(rows).max(axis=0) + 1e-3
    return np.concatenate([rows[:kept], moved + far * reach * rng.standard_normal(moved.shape)])
