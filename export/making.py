"""What a bundle says of its making: files, provenance, measured accuracy, conversions.

Holds parts of the manifest's schema. Knows nothing of fields, graphs or torch.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

PARITY_LIMIT = 1e-5
MOST_ALLOWED = 1.0  # of a conversion's tolerance: as far off as the output is large
_SHA256 = r"^[0-9a-f]{64}$"


class Strict(BaseModel):
    # JSON has no infinity: an unbounded component is written as the string "Infinity".
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class FileEntry(Strict):
    sha256: str = Field(pattern=_SHA256)
    size: int = Field(ge=0)


class Provenance(Strict):
    """Where the weights come from. No wall-clock time: the same input gives the same bundle id.

    `warm_start` is the digest of the checkpoint that the run was begun from (`train --from`).
    """

    fieldtune_version: str
    dataset: str
    config_sha256: str
    seed: int
    phase: Literal["offline", "self-supervised"]
    updates: int
    parent_bundle: str | None = None
    warm_start: str | None = None


class Parity(Strict):
    """Largest difference between torch and ONNX Runtime, over the dataset's own range.

    `relative` is max |onnx − torch| divided by max |torch| of that output.
    """

    relative: float = Field(ge=0, le=PARITY_LIMIT)
    absolute: FiniteFloat = Field(ge=0)
    samples: int = Field(gt=0)


class Difference(Strict):
    """Largest difference of one output between a converted graph and the one it was made from.

    `relative` is max |converted − source| divided by max |source|; `absolute` is not divided.
    """

    relative: FiniteFloat = Field(ge=0)
    absolute: FiniteFloat = Field(ge=0)
    samples: int = Field(gt=0)


class Conversion(Strict):
    """One step from an exported bundle to this one (`fieldtune bundle convert`).

    `source` is the id of the bundle that it began from, `tolerance` the largest relative difference
    that was allowed, `samples` what it was measured on, and `difference` what was measured, one
    entry an output. `static` fixes the batch: 1, and of `likelihood.onnx` the number of particles.
    """

    to: Literal["fp16", "int8", "static"]
    source: str = Field(pattern=_SHA256)
    tolerance: FiniteFloat = Field(gt=0, le=MOST_ALLOWED)
    samples: str
    difference: dict[str, Difference]

    @model_validator(mode="after")
    def _is_within(self) -> Conversion:
        for output, found in self.difference.items():
            if found.relative > self.tolerance:
                raise ValueError(
                    f"{output} is {found.relative:g} from the bundle's that it was made from, "
                    f"beyond the tolerance of {self.tolerance:g}: convert it again"
                )
        return self
