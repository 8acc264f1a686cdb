"""A bundle's graphs as OpenVINO's own files, for programs that load those.

Workstation side; OpenVINO is an extra, imported where it is used. What it writes is a folder and no
bundle: a robot of fieldtune reads the bundle itself, also where OpenVINO computes it.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

from fieldtune.export.bundle import Bundle
from fieldtune.export.convert import ConversionError
from fieldtune.export.differences import Samples, differences, outputs_of
from fieldtune.export.making import Difference


def write_openvino(
    bundle: Bundle, folder: Path, samples: Samples, described: str, tolerance: float
) -> dict[str, Difference]:
    """Write `policy.xml`, `policy.bin` and so on, and `manifest.json` beside them.

    The manifest is the bundle's, with the key `openvino`: version, bundle id, samples, differences.

    Args:
        bundle: verified, and not of 8-bit integers, which are compared nowhere else in this form.
        folder: made where there is none; an older conversion in it is replaced.
        samples: float32 `(sample, width)` by input name.
        described: what they are.
        tolerance: the largest relative difference from ONNX Runtime on the processor.

    Raises:
        ConversionError: OpenVINO is not installed, or an output is further off; nothing is written.
    """
    try:
        import openvino
    except ImportError:
        raise ConversionError(
            'OpenVINO is not installed: pip install "fieldtune[openvino]"'
        ) from None
    core, models, found = openvino.Core(), {}, {}
    signatures = bundle.manifest.signatures
    for name, signature in signatures.items():
        models[name] = core.read_model(BytesIO(bundle.graphs[name]))
        compiled = core.compile_model(models[name], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        feed = {key: samples[key] for key, _ in signature.inputs}
        if signature.batch is not None:
            feed = {key: value[: signature.batch] for key, value in feed.items()}
        outputs = compiled(feed)
        found[name] = [outputs[key] for key, _ in signature.outputs]
    wanted = outputs_of(bundle.manifest, bundle.graphs, samples)
    compared = {
        name: [want[: len(got)] for want, got in zip(wanted[name], found[name], strict=True)]
        for name in signatures
    }
    measured = differences(signatures, compared, found)
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
