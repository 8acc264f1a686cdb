"""The bundle's manifest: a versioned schema that rejects what it does not know.

Holds what a bundle declares and the rules its numbers obey. Knows nothing of files or of torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator
from typing_extensions import Self

from fieldtune.export.making import (
    PARITY_LIMIT,
    Conversion,
    Difference,
    FileEntry,
    Parity,
    Provenance,
    Strict,
)

__all__ = [
    "PARITY_LIMIT",
    "Conversion",
    "Description",
    "Difference",
    "FieldSpec",
    "FileEntry",
    "Likelihood",
    "Manifest",
    "Parity",
    "Provenance",
    "Signature",
]

SCHEMA_VERSIONS = (1, 2)  # the second one is of bundles with particles, and of no others
GRAPHS = ("policy.onnx", "encoder.onnx", "decoder.onnx")
LIKELIHOOD = "likelihood.onnx"
MOST_PARTICLES = 20_000


class FieldSpec(Strict):
    """One ordered group of components, with the same meaning as a driver's feature.

    `low` and `high` have one entry per component; infinite where the quantity is unbounded.
    """

    name: str = Field(min_length=1)
    unit: str
    low: tuple[float, ...] = Field(min_length=1)
    high: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if len(self.low) != len(self.high):
            raise ValueError(
                f"field {self.name!r}: {len(self.low)} lower bounds but {len(self.high)} upper ones"
            )
        for index, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not low <= high:  # also false for NaN
                raise ValueError(
                    f"field {self.name!r}, component {index}: [{low}, {high}] is not a range"
                )
        return self

    @property
    def width(self) -> int:
        return len(self.low)


@dataclass(frozen=True)
class Signature:
    """What one graph takes and gives, in order: `(name, width)`, all float32 `(batch, width)`.

    `batch` is None where it is free.
    """

    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    batch: int | None = None


class Likelihood(Strict):
    """What a robot infers z by, where that is the decoder's likelihood and not the encoder.

    `particles` is where z may be, `(n, latent_size)`. `reward_variance` and `change_variance`, one
    number a component of the observation, are the decoders' own errors, in training units, and
    `temper` is what one transition's log-likelihood counts, since errors are alike all through an
    episode: they are inside `likelihood.onnx` already, and stand here for a person. A context that
    even its likeliest particle gives a lower mean log-likelihood a transition than `unlike_below`
    is of a task unlike any trained on.
    """

    particles: tuple[tuple[FiniteFloat, ...], ...] = Field(min_length=1, max_length=MOST_PARTICLES)
    reward_variance: FiniteFloat = Field(gt=0)
    change_variance: tuple[Annotated[FiniteFloat, Field(gt=0)], ...] | None = None
    temper: float = Field(default=1.0, gt=0, le=1)
    unlike_below: FiniteFloat


class Description(Strict):
    """What the exporter says about a policy: the manifest without what is measured from files.

    `task_embeddings` holds z of training tasks' offline contexts, `(n, latent_size)`: a robot
    labels its own context with one of them, since the decoder is only right there, and never
    with z from the prior. `observation_seen` is the observation fields again, with the lowest and
    highest value in the training data in the place of bounds: a robot holds what no driver bounds
    against it. None where the exporter does not say. `prior_factor` is false where the encoder's
    posterior is the product of the context's factors alone, and the prior only what no context
    gives; robots from before refuse such a bundle. `likelihood` is None where a robot infers z by
    the encoder; then the schema is version 1, which robots from before particles read too.
    """

    schema_version: Literal[1, 2] = 1
    family: str
    robot: str
    observation_fields: tuple[FieldSpec, ...] = Field(min_length=1)
    action_fields: tuple[FieldSpec, ...] = Field(min_length=1)
    period_s: FiniteFloat = Field(gt=0)
    horizon: int = Field(gt=0)
    latent_size: int = Field(gt=0)
    context_has_next_observation: bool = False
    sparse_reward: bool = False
    prior_factor: bool = True
    task_embeddings: tuple[tuple[FiniteFloat, ...], ...] = Field(min_length=1)
    observation_seen: tuple[FieldSpec, ...] | None = None
    likelihood: Likelihood | None = None
    provenance: Provenance

    @model_validator(mode="before")
    @classmethod
    def _versioned(cls, values: Any) -> Any:
        """The version follows from what is there, and need not be given."""
        if isinstance(values, dict) and "schema_version" not in values:
            return {"schema_version": 1 if values.get("likelihood") is None else 2, **values}
        return values

    @model_validator(mode="after")
    def _check_likelihood(self) -> Self:
        known = self.likelihood
        if (known is not None) != (self.schema_version == 2):
            has = "no section" if known is None else "a section"
            raise ValueError(
                f"schema_version is {self.schema_version} and there is {has} 'likelihood': version "
                "2 is of bundles that have one, version 1 of those that have none"
            )
        if known is None:
            return self
        for index, particle in enumerate(known.particles):
            if len(particle) != self.latent_size:
                raise ValueError(
                    f"likelihood.particles[{index}] is {len(particle)} wide, "
                    f"latent_size is {self.latent_size}"
                )
        if known.change_variance is not None:
            if not self.context_has_next_observation:
                raise ValueError(
                    "likelihood.change_variance is given, but context_has_next_observation is "
                    "false: without a next observation there is no change"
                )
            if len(known.change_variance) != self.observation_width:
                raise ValueError(
                    f"likelihood.change_variance is {len(known.change_variance)} wide, "
                    f"observations are {self.observation_width}"
                )
        return self

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        for kind, fields in (
            ("observation_fields", self.observation_fields),
            ("action_fields", self.action_fields),
        ):
            names = [field.name for field in fields]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: {twice[0]!r} appears more than once")
        for field in self.action_fields:
            for low, high in zip(field.low, field.high, strict=True):
                if not (math.isfinite(low) and math.isfinite(high) and low < high):
                    raise ValueError(
                        f"action field {field.name!r}: bounds [{low}, {high}] must be finite and "
                        "apart, the squashed action is scaled by them"
                    )
        for index, embedding in enumerate(self.task_embeddings):
            if len(embedding) != self.latent_size:
                raise ValueError(
                    f"task_embeddings[{index}] is {len(embedding)} wide, "
                    f"latent_size is {self.latent_size}"
                )
        return self

    @model_validator(mode="after")
    def _check_seen(self) -> Self:
        if self.observation_seen is None:
            return self
        for what in ("name", "width", "unit"):
            found = [getattr(field, what) for field in self.observation_seen]
            expected = [getattr(field, what) for field in self.observation_fields]
            if found != expected:
                raise ValueError(
                    f"observation_seen has the {what}s {found}, observation_fields {expected}"
                )
        for field in self.observation_seen:
            if not all(map(math.isfinite, field.low + field.high)):
                raise ValueError(
                    f"observation_seen, field {field.name!r}: [{field.low}, {field.high}] must be "
                    "finite, as data are"
                )
        return self

    @property
    def observation_width(self) -> int:
        return sum(field.width for field in self.observation_fields)

    @property
    def action_width(self) -> int:
        return sum(field.width for field in self.action_fields)

    @property
    def signatures(self) -> dict[str, Signature]:
        """Each graph's signature, as follows from the widths declared here, in their order."""
        observation = ("observation", self.observation_width)
        action = ("action", self.action_width)
        reward = ("reward", 1)
        z = ("z", self.latent_size)
        transition: tuple[tuple[str, int], ...] = (observation, action, reward)
        if self.context_has_next_observation:
            transition += (("next_observation", self.observation_width),)
        found = {
            "policy.onnx": Signature(
                (observation, z), (("mean", self.action_width), ("log_std", self.action_width))
            ),
            "encoder.onnx": Signature(
                transition, (("mean", self.latent_size), ("variance", self.latent_size))
            ),
            "decoder.onnx": Signature((observation, action, z), (reward,)),
        }
        if self.likelihood is not None:
            found[LIKELIHOOD] = Signature((*transition, z), (("log_likelihood", 1),))
        return found


class Manifest(Description):
    """Everything a robot needs to know before it loads a graph.

    `parity` has one entry per output, e.g. `policy.mean`: the exported graphs', also where
    `conversions` followed. A robot from before these refuses a bundle that has any.
    """

    files: dict[str, FileEntry]
    parity: dict[str, Parity]
    conversions: tuple[Conversion, ...] = ()

    @model_validator(mode="after")
    def _check_graphs(self) -> Self:
        graphs = sorted(self.signatures)
        if sorted(self.files) != graphs:
            raise ValueError(f"files lists {sorted(self.files)}, expected {graphs}")
        expected = {
            f"{graph.removesuffix('.onnx')}.{name}"
            for graph, signature in self.signatures.items()
            for name, _ in signature.outputs
        }
        if set(self.parity) != expected:
            raise ValueError(f"parity lists {sorted(self.parity)}, expected {sorted(expected)}")
        for index, conversion in enumerate(self.conversions):
            if set(conversion.difference) != expected:
                raise ValueError(
                    f"conversions[{index}].difference lists {sorted(conversion.difference)}, "
                    f"expected {sorted(expected)}"
                )
        return self

    @property
    def signatures(self) -> dict[str, Signature]:
        found = super().signatures
        if not any(one.to == "static" for one in self.conversions):
            return found
        particles = 1 if self.likelihood is None else len(self.likelihood.particles)
        return {
            name: replace(one, batch=particles if name == LIKELIHOOD else 1)
            for name, one in found.items()
        }

    @property
    def tolerance(self) -> float:
        """How far from the exported graphs, relative, what runs them may be: `PARITY_LIMIT`, or
        what the widest conversion was allowed."""
        return max([PARITY_LIMIT, *(one.tolerance for one in self.conversions)])
