"""Another form of a bundle for another computer: half precision, 8-bit integers, a fixed batch.

Workstation side: onnx is imported only where it is used. 8-bit integers are made by ONNX Runtime's
own tool (`onnxruntime.quantization`, MIT, in its wheel). Whatever comes out is measured against
what went in.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from fieldtune.errors import UserError
from fieldtune.export.bundle import Bundle, file_entry, pack_bundle, parse_bundle
from fieldtune.export.differences import Array, Samples, differences, outputs_of
from fieldtune.export.graph import OPSET
from fieldtune.export.making import MOST_ALLOWED, Conversion, Difference
from fieldtune.export.manifest import LIKELIHOOD, PARITY_LIMIT, Manifest, Signature
from fieldtune.export.plain import plain
from fieldtune.export.writer import strip

To = Literal["fp16", "int8", "static"]
_REFERENCE_SAMPLES = 256  # numpy computes half precision slowly
_PLACEHOLDER = Difference(relative=0.0, absolute=0.0, samples=1)
# Between the first layer and the last, as mixed precision in training: what networks read is
# scaled from physical units that half precision cannot hold, and what they say needs more digits.
_LAYERS = ("Gemm", "MatMul")
_BETWEEN = {*_LAYERS, "Add", "LayerNormalization", "Relu"}


class ConversionError(UserError, ValueError):
    """A bundle cannot be converted so, or would be too far from the one that it is made from."""


def convert(
    bundle: Bundle, to: To, samples: Samples, described: str, tolerance: float = PARITY_LIMIT
) -> Bundle:
    """The bundle in another form, once it is shown to be near the one that it is made from.

    Args:
        bundle: verified; one of version 0.1.0 too, whose graphs are spelled in plain operators.
        to: `fp16` and `int8` are of weights and products between the first layer and the last, and
            of nothing else; `static` fixes the batch, and is the last step where there are several.
        samples: float32 `(sample, width)` by input name, all inputs. Those that 8-bit ranges are
            measured on are left out of the comparison.
        described: what the samples are, for the manifest.
        tolerance: the largest relative difference of an output.

    Raises:
        ConversionError: it is converted already, there is nothing to convert, or an output is
            further off than `tolerance`.
    """
    require_tolerance(tolerance)
    _require_convertible(bundle.manifest, to)
    signatures = bundle.manifest.signatures
    ranges, compared = samples, samples
    if to == "int8":
        ranges = {name: rows[::2] for name, rows in samples.items()}
        compared = {name: rows[1::2] for name, rows in samples.items()}
    wanted = _own(bundle, compared)
    graphs = {
        name: _converted(graph, name, signatures[name], to, ranges, bundle.manifest)
        for name, graph in bundle.graphs.items()
    }
    if all(graphs[name] == bundle.graphs[name] for name in graphs):
        raise ConversionError(
            f"no graph has layers between its first and its last: there is nothing to make {to}"
        )
    manifest = _manifest(bundle, graphs, to, described, tolerance)
    try:
        measured = _measured(manifest, graphs, to, compared, wanted)
    except ValueError as error:
        raise ConversionError(f"as {to}, {error}: nothing was written") from error
    worst = max(measured, key=lambda output: measured[output].relative)
    if not measured[worst].relative <= tolerance:
        raise ConversionError(
            f"as {to}, {worst} is {measured[worst].relative:.3g} (relative) from the bundle's over "
            f"{measured[worst].samples} samples, at most {tolerance:g} is allowed: --tolerance "
            "widens it; `fieldtune bundle evaluate` shows what it costs"
        )
    step = manifest.conversions[-1].model_copy(update={"difference": measured})
    final = manifest.model_copy(update={"conversions": (*manifest.conversions[:-1], step)})
    return parse_bundle(pack_bundle(final, graphs), source=f"as {to}")


def require_tolerance(tolerance: float) -> None:
    """Raises `ConversionError` for one that bounds nothing, or that nothing meets."""
    if not 0 < tolerance <= MOST_ALLOWED:
        raise ConversionError(
            f"the tolerance is {tolerance:g}: expected a number above 0, at most {MOST_ALLOWED:g}"
        )


def _own(bundle: Bundle, samples: Samples) -> dict[str, list[Array]]:
    """What the bundle's own graphs give. Raises `ConversionError` where that is no number: tools
    that convert meet it with nothing that a person understands."""
    found = outputs_of(bundle.manifest, bundle.graphs, samples)
    try:
        differences(bundle.manifest.signatures, found, found)
    except ValueError as error:
        raise ConversionError(
            f"before it is converted, {error}: `bundle verify` shows whether a robot would take "
            "it; export the bundle again"
        ) from error
    return found


def _measured(
    manifest: Manifest,
    graphs: dict[str, bytes],
    to: To,
    samples: Samples,
    wanted: dict[str, list[Array]],
) -> dict[str, Difference]:
    """By ONNX Runtime; in half precision also by ONNX's own reference, whichever is further off.

    On a processor without half precision, ONNX Runtime computes in single, and what overflows on a
    device that has it would pass.
    """
    found = outputs_of(manifest, graphs, samples)
    measured = differences(manifest.signatures, wanted, found)
    if to != "fp16":
        return measured
    few = {name: rows[:_REFERENCE_SAMPLES] for name, rows in samples.items()}
    exact = {
        name: _by_reference(graphs[name], signature, few)
        for name, signature in manifest.signatures.items()
    }
    wanted = {name: [rows[:_REFERENCE_SAMPLES] for rows in rows_of] for name, rows_of in
              wanted.items()}  # fmt: skip
    other = differences(manifest.signatures, wanted, exact)
    return {
        output: max(measured[output], other[output], key=lambda one: one.relative)
        for output in measured
    }


def _by_reference(graph: bytes, signature: Signature, samples: Samples) -> list[Array]:
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    runner = ReferenceEvaluator(onnx.load_model_from_string(graph))
    with np.errstate(all="ignore"):  # what is not finite is told of the outputs
        found: Any = runner.run(
            [name for name, _ in signature.outputs],
            {name: samples[name] for name, _ in signature.inputs},
        )
    return list(found)


def _require_convertible(manifest: Manifest, to: To) -> None:
    done = {step.to: step.source[:12] for step in manifest.conversions}
    if "static" in done:
        raise ConversionError(
            f"it is static already, which is the last step: convert the bundle that it was made "
            f"from ({done['static']})"
        )
    if done and to != "static":
        form, source = next(iter(done.items()))
        raise ConversionError(
            f"it is {form} already: convert the bundle that it was made from ({source})"
        )


def _manifest(
    bundle: Bundle, graphs: dict[str, bytes], to: To, described: str, tolerance: float
) -> Manifest:
    """Of the converted bundle, its differences not yet measured."""
    step = Conversion(
        to=to,
        source=bundle.id,
        tolerance=tolerance,
        samples=described,
        difference=dict.fromkeys(bundle.manifest.parity, _PLACEHOLDER),
    )
    return bundle.manifest.model_copy(
        update={
            "files": {name: file_entry(graph) for name, graph in graphs.items()},
            "conversions": (*bundle.manifest.conversions, step),
        }
    )


def _converted(
    graph: bytes, name: str, signature: Signature, to: To, ranges: Samples, manifest: Manifest
) -> bytes:
    import onnx
    import onnx_ir as ir

    model = onnx.load_model_from_string(graph)
    if any(entry.version != OPSET for entry in model.opset_import):
        model = plain(ir.from_proto(model), name)
    if to != "static" and len(_layers(model)) < 3:
        return graph
    with _quiet():
        if to == "fp16":
            model = _halved(model)
        elif to == "int8":
            model = _quantised(model, {key: ranges[key] for key, _ in signature.inputs})
        else:
            known = manifest.likelihood
            _fix_batch(model, 1 if name != LIKELIHOOD or known is None else len(known.particles))
    return _finished(model, name)


def _layers(model: Any) -> list[str]:
    """The nodes of the graph's layers, by name, in order."""
    return [node.name for node in model.graph.node if node.op_type in _LAYERS]


def _halved(model: Any) -> Any:
    """Products between the first layer and the last in half precision.

    The converters that exist (onnxconverter-common's and ONNX Runtime's copy of it) pass every
    input of the graph through half precision and back, which physical units do not survive.
    """
    from onnx import TensorProto, helper, numpy_helper

    layers = _layers(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    halves: dict[str, str] = {}  # a value's name in half precision, by its own
    whole: set[str] = set()  # of those, what is there in single precision too
    nodes, inside = [], False

    def half(name: str) -> str:
        if name not in halves:
            halves[name] = f"{name}_fp16"
            whole.add(name)
            if name in weights:
                value = numpy_helper.to_array(weights[name]).astype("float16")
                model.graph.initializer.append(numpy_helper.from_array(value, halves[name]))
            else:
                nodes.append(_cast(name, halves[name], TensorProto.FLOAT16))
        return halves[name]

    for node in model.graph.node:
        inside = (inside or node.name == layers[0]) and node.name != layers[-1]
        if inside and node.name != layers[0] and node.op_type in _BETWEEN:
            node.input[:] = [half(name) if name else name for name in node.input]
            halves |= {name: f"{name}_fp16" for name in node.output if name}
            node.output[:] = [halves[name] if name else name for name in node.output]
        else:
            for name in node.input:
                if name in halves and name not in whole:
                    nodes.append(_cast(halves[name], name, TensorProto.FLOAT))
                    whole.add(name)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, kept)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _cast(name: str, made: str, to: int) -> Any:
    from onnx import helper

    return helper.make_node("Cast", [name], [made], name=f"node_{made}_cast", to=to)


def _quantised(model: Any, ranges: Samples) -> Any:
    """In QDQ form and symmetric, the one that ONNX Runtime, OpenVINO and TensorRT all take."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantise

    class Rows(CalibrationDataReader):
        """All samples, as one batch."""

        def __init__(self) -> None:
            self._batches: Iterator[dict[str, Any]] = iter([dict(ranges)])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "quantised.onnx"
        quantise(
            model,
            out,
            Rows(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_LAYERS),
            nodes_to_quantize=_layers(model)[1:-1],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        return onnx.load(out)


def _fix_batch(model: Any, batch: int) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch


def _finished(model: Any, name: str) -> bytes:
    """Without what the tools leave behind, checked by ONNX."""
    import onnx
    from onnx import numpy_helper

    strip(model)
    model.producer_name, model.producer_version = "fieldtune", ""
    model.graph.name = name.removesuffix(".onnx")
    model.graph.ClearField("value_info")
    for tensor in model.graph.initializer:  # in the one form that a reader takes
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    others = [entry for entry in model.opset_import if entry.domain]
    for entry in others:
        model.opset_import.remove(entry)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Hush the tool's advice to optimise first: what it is given is as it should stay."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
