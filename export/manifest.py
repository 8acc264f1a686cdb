"""The bundle's manifest: a versioned schema that rejects what it does not know."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
GRAPHS = ("policy.onnx", "encoder.onnx", "decoder.onnx")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


class FieldSpec(_Strict):
    """One ordered group of components, with the same meaning as a driver's feature."""

    name: str
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def width(self) -> int:
        return len(self.low)


class FileEntry(_Strict):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Provenance(_Strict):
    """Where the weights come from. No wall-clock time: the same input gives the same bundle id."""

    fieldtune_version: str
    dataset: str
    config_sha256: str
    seed: int
    phase: Literal["offline", "self-supervised"]
    updates: int
    parent_bundle: str | None = None


class Parity(_Strict):
    """Largest difference between torch and ONNX Runtime, over the dataset's own range.

    `relative` is max |onnx − torch| divided by max |torch| of that output.
    """

    relative: float
    absolute: float
    samples: int


class Manifest(_Strict):
    """Everything a robot needs to know before it loads a graph.

    `task_embeddings` holds z of training tasks' offline contexts, `(n, latent_size)`: a robot labels
    its own context with one of them, since the decoder is only right there (never the prior).
    """

    schema_version: Literal[1] = 1
    family: str
    robot: str
    observation_fields: tuple[FieldSpec, ...]
    action_fields: tuple[FieldSpec, ...]
    period_s: float = Field(gt=0)
    horizon: int = Field(gt=0)
    latent_size: int = Field(gt=0)
    context_has_next_observation: bool = False
    task_embeddings: tuple[tuple[float, ...], ...]
    files: dict[str, FileEntry]
    provenance: Provenance
    parity: dict[str, Parity]
