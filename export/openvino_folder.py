"""A bundle's graphs as OpenVINO's own files, for programs that load those.

Workstation side; OpenVINO is an extra, imported where it is used. What it writes is a folder and no
bundle: a robot of fieldtune reads the bundle itself, also where OpenVINO computes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from fieldtune.export.bundle import Bundle
from fieldtune.export.convert import ConversionError, require_tolerance
from fieldtune.export.differences import Array, Samples, differences, in_pieces, outputs_of
from fieldtune.export.making import Difference
from fieldtune.export.manifest import Signature


def write_openvino(
    bundle: Bundle, folder: Path, samples: Samples, described: str, tolerance: float
) -> dict[str, Difference]:
    """Write `policy.xml`, `policy.bin` and so on, and `manifest.json` beside them.

    The manifest is the bundle's, with the key `openvino`: version, bundle id, samples, differences.

    Args:
        bundle: verified; a converted one too.
        folder: made where there is none; an older conversion in it is replaced.
        samples: float32 `(sample, width)` by input name.
        described: what they are.
        tolerance: the largest relative difference from ONNX Runtime on the processor.

    Raises:
        ConversionError: OpenVINO is not installed, or an output is further off; nothing is written.
    """
    require_tolerance(tolerance)
    try:
        import openvino  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError:
        raise ConversionError(
            'OpenVINO is not installed: pip install "fieldtune[openvino]"'
        ) from None
    core, models, found = openvino.Core(), {}, {}
    signatures = bundle.manifest.signatures
    for name, signature in signatures.items():
        models[name] = core.read_model(BytesIO(bundle.graphs[name]))
        compiled = core.compile_model(models[name], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found[name] = in_pieces(_in_order(compiled, signature), signature, samples)
    wanted = outputs_of(bundle.manifest, bundle.graphs, samples)
    measured = differences(signatures, wanted, found)
    worst = max(measured, key=lambda output: measured[output].relative)
    if not measured[worst].relative <= tolerance:
        raise ConversionError(
            f"by OpenVINO, {worst} is {measured[worst].relative:.3g} (relative) from ONNX "
            f"Runtime's over {measured[worst].samples} samples, at most {tolerance:g} is allowed: "
            "--tolerance widens it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        path = folder / name.replace(".onnx", ".xml")
        openvino.save_model(model, path, compress_to_fp16=False)
    said = json.loads(bundle.manifest.model_dump_json()) | {
        "openvino": {
            "version": openvino.get_version(),
            "bundle": bundle.id,
            "samples": described,
            "difference": {name: one.model_dump() for name, one in measured.items()},
        }
    }
    (folder / "manifest.json").write_text(json.dumps(said, indent=1, allow_nan=False) + "\n")
    return measured


def _in_order(compiled: Any, signature: Signature) -> Callable[[dict[str, Array]], list[Array]]:
    """A compiled model's outputs in the signature's order; copied, since it overwrites them."""

    def compute(inputs: dict[str, Array]) -> list[Array]:
        outputs = compiled(inputs)
        return [outputs[name].copy() for name, _ in signature.outputs]

    return compute
